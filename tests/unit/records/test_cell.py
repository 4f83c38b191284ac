"""The history of a training: its file, and that an older one can still be read."""

from __future__ import annotations

from rsitr.records.cell import Epoch, TrainReport, write_history
from rsitr.records.files import read_csv

LINE = {"loss": 1.5, "val_mr": 20.0, "learning_rate": 0.001, "image_cosine": 0.5}


def test_every_task_has_a_column(tmp_path):
    tasks: list[dict[str, float]] = [{"matching": 0.5}, {"matching": 0.25, "words": 3.0}]
    epochs = [Epoch(epoch=n, tasks=each, val_dup_mr=25.0, **LINE) for n, each in enumerate(tasks, 1)]
    write_history(tmp_path / "history.csv", epochs)
    assert (tmp_path / "history.csv").read_text(encoding="utf-8").splitlines() == [
        "epoch,loss,val_mr,val_dup_mr,learning_rate,matching,words",
        "1,1.50000,20.0000,25.0000,1.000e-03,0.50000,",
        "2,1.50000,20.0000,25.0000,1.000e-03,0.25000,3.00000",
    ]
    assert [row["words"] for row in read_csv(tmp_path / "history.csv")] == ["", "3.00000"]
    write_history(tmp_path / "history.csv", [])
    assert read_csv(tmp_path / "history.csv") == []


def test_epochs_are_compared_by_the_duplicate_aware_recall_where_it_was_taken(tmp_path):
    before, since = Epoch(epoch=1, **LINE), Epoch(epoch=2, val_dup_mr=0.0, **LINE)
    assert (before.merit, since.merit) == (20.0, 0.0)
    write_history(tmp_path / "history.csv", [before, since])
    assert [row["val_dup_mr"] for row in read_csv(tmp_path / "history.csv")] == ["", "0.0000"]


def test_a_history_from_before_tasks_were_recorded():
    report = TrainReport.model_validate({"history": [LINE | {"epoch": 1}]})
    assert report.history == [Epoch(epoch=1, **LINE)]
    assert (report.history[0].tasks, report.history[0].text_cosine) == ({}, None)
