"""The numbers of an experiment for programs: means of complete rows, and every epoch, whenever it was written."""

from __future__ import annotations

import json

from rsitr.params.ids import CellId
from rsitr.records.cell import Epoch, write_history
from rsitr.records.files import read_csv
from rsitr.tables import metrics
from tests.helpers.lab import Records, params

CHOSEN = params((["ucm"], ["vse"], [0, 1]), (["ucm"], ["vse@tel"], [0], "ablation"))


def test_every_epoch_with_its_role_and_means_of_complete_rows_alone(tmp_path):
    lab = Records(tmp_path)
    lab.put("ucm", "vse", 0, 40.0)
    lab.put("ucm", "vse@tel", 0, 30.0)
    for method, losses in (("vse", (2.5, 2.0)), ("vse@tel", (3.0,))):
        epochs = [
            Epoch(epoch=epoch, loss=loss, val_mr=10, val_dup_mr=20, learning_rate=0.1, image_cosine=0)
            for epoch, loss in enumerate(losses, start=1)
        ]
        write_history(lab.cells / CellId("lab", "ucm", method, 0).path / "history.csv", epochs)
    numbers, training = metrics.build(lab.view(CHOSEN), lab.out)
    assert training.read_text(encoding="utf-8").splitlines() == [
        "dataset,method,role,seed,epoch,loss,val_mr,val_dup_mr",
        "ucm,vse,main,0,1,2.50000,10.0000,20.0000",
        "ucm,vse,main,0,2,2.00000,10.0000,20.0000",
        "ucm,vse@tel,ablation,0,1,3.00000,10.0000,20.0000",
    ]
    expected = {"mr": 30.0, "dup_mr": 31.0, "i2t_r1": 30.0, "t2i_r1": 30.0}
    assert json.loads(numbers.read_text(encoding="utf-8")) == {"ucm": {"vse@tel": expected}}


def test_a_history_from_before_duplicates_were_counted_has_no_such_recall(tmp_path):
    lab = Records(tmp_path)
    lab.put("ucm", "vse", 0, 40.0)
    history = lab.cells / CellId("lab", "ucm", "vse", 0).path / "history.csv"
    history.write_text("epoch,loss,val_mr,learning_rate\n1,3.00000,20.0000,1.000e-01\n", encoding="utf-8")
    metrics.build(lab.view(params((["ucm"], ["vse"], [0]))), lab.out)
    assert [(row["loss"], row["val_mr"], row["val_dup_mr"]) for row in read_csv(lab.out / "training.csv")] == [
        ("3.00000", "20.0000", "")
    ]
