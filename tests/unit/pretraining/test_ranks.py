"""Nodes that share no disk: they agree before training, continue together, and none waits for one that is lost."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from rsitr.errors import CorruptArchive, DatasetError, ProcessFailed, TrainingDiverged
from rsitr.nn.clip_models import OWN
from rsitr.pretraining import loop
from rsitr.pretraining.loop import Pretrainer, pretrain
from tests.helpers.mini_clip import MINI, losses, record, saved, spec
from tests.helpers.processes import forked, vanish
from tests.helpers.shards_of_colours import write_colours

LOST = "does not answer any more"


@pytest.fixture(autouse=True)
def mini(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(OWN, "mini", MINI)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rsitr.stages.steps.SAVE_SECONDS", 0)


def nodes(count: int = 2) -> list[Path]:
    """Folders of nodes, each with its own shards."""
    found = [Path(f"node-{number}").absolute() for number in range(count)]
    for folder in found:
        if not (folder / "shards").exists():
            write_colours(folder / "shards", broken=(2,))
    return found


def train(rank: int, **fields: Any) -> tuple[str, int, str]:
    done = pretrain(spec(patience=60, **fields))
    return done.outcome.status, done.steps, done.weights_sha


@pytest.fixture
def alone(once) -> list[float]:
    """The losses of one process on the same samples."""

    def trained() -> list[float]:
        folder = Path("alone").absolute()
        write_colours(folder / "shards", broken=(2,))
        assert forked([folder], train)[0][0] == "ok"
        return losses(folder / "out")

    return once("alone", trained)


def killed(at: int, step_of: Any = Pretrainer.train_step) -> Any:
    def step(self: Pretrainer, number: int, batch: Any) -> Any:
        if number == at:
            vanish()
        return step_of(self, number, batch)

    return step


def interrupted(monkeypatch: pytest.MonkeyPatch, folders: list[Path], at: int = 5) -> None:
    """Train until all processes are killed before a step."""
    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "train_step", killed(at))
        assert forked(folders, train) == [None] * len(folders)


@pytest.mark.slow
class TestContinuing:
    def test_only_the_first_node_has_the_state(self, monkeypatch, alone):
        """Also the whole of the history and the broken samples come from there."""
        folders = nodes()
        interrupted(monkeypatch, folders)
        assert len(saved(folders[0] / "out")["steps"]["losses"]) == 5
        assert not (folders[1] / "out" / "resume.pt").exists()
        first, second = forked(folders, train)
        assert first == second
        assert first[:2] == ("ok", 9)
        assert losses(folders[0] / "out") == pytest.approx(alone, abs=2e-5)
        done = record(folders[0] / "out")
        assert (done.processes, [entry.epoch for entry in done.history]) == (2, [1, 2, 3])
        assert done.skipped == {"image broken": 1}

    def test_the_node_with_the_state_is_another_one_now(self, monkeypatch, alone):
        """torchrun may number the nodes differently when it starts again."""
        folders = nodes()
        interrupted(monkeypatch, folders)
        steps: list[int] = []
        original = Pretrainer.train_step
        monkeypatch.setattr(
            Pretrainer, "train_step", lambda self, step, batch: steps.append(step) or original(self, step, batch)
        )

        def work(rank: int) -> Any:
            return train(rank), steps[0]

        first, second = forked(folders[::-1], work)
        assert first == second
        assert first[1] == 5
        assert losses(folders[1] / "out") == pytest.approx(alone, abs=2e-5)
        assert not (folders[0] / "out" / "resume.pt").exists()

    def test_an_older_state_on_another_node(self, monkeypatch, alone):
        folders = nodes()
        interrupted(monkeypatch, folders, at=2)
        (folders[1] / "out").mkdir(exist_ok=True)
        shutil.copy(folders[0] / "out" / "resume.pt", folders[1] / "out")
        interrupted(monkeypatch, folders, at=5)
        forked(folders[::-1], train)
        assert losses(folders[1] / "out") == pytest.approx(alone, abs=2e-5)

    @pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 4)])
    def test_another_number_of_processes(self, monkeypatch, before, after, alone):
        folders = nodes(4)
        interrupted(monkeypatch, folders[:before])
        answers = forked(folders[:after], train)
        assert [answer[:2] for answer in answers] == [("ok", 9)] * after
        assert losses(folders[0] / "out") == pytest.approx(alone, abs=2e-5)
        assert record(folders[0] / "out").processes == after

    def test_a_number_of_processes_that_does_not_divide_the_batch(self, monkeypatch):
        folders = nodes(3)
        interrupted(monkeypatch, folders[:2])
        for kind, message in forked(folders, train):
            assert issubclass(kind, loop.ParamsError)
            assert message == "batch_size 8 cannot be divided over 3 processes"
        assert len(saved(folders[0] / "out")["steps"]["losses"]) == 5

    def test_a_run_that_has_ended_is_not_repeated_anywhere(self, monkeypatch):
        folders = nodes()
        first = forked(folders, train)
        assert not (folders[1] / "out" / "model.safetensors").exists()
        monkeypatch.setattr(Pretrainer, "run", lambda self: pytest.fail("trained again"))
        assert forked(folders, train) == first
        assert forked(folders[::-1], train) == first

    def test_a_damaged_state_on_a_shared_disk(self, monkeypatch, capfd):
        (folder,) = nodes(1)
        (folder / "out").mkdir()
        (folder / "out" / "resume.pt").write_bytes(b"PK\x03\x04 cut")
        assert [answer[:2] for answer in forked([folder, folder], train)] == [("ok", 9)] * 2
        assert capfd.readouterr().err.count("is damaged: training begins again") == 1


class TestAgreement:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda folder: (folder / "colours-1.tar").unlink(), "colours-1.tar is missing in process 1 (node 1)"),
            (
                lambda folder: write_colours(folder, shards=1, samples=9),
                "colours-0.tar differs in process 1 (node 1)",
            ),
            (
                lambda folder: (folder / "colours-2.tar").rename(folder / "colours-7.tar"),
                "colours-2.tar is missing in process 1 (node 1); colours-7.tar is only in process 1 (node 1). Copy",
            ),
        ],
    )
    def test_every_node_needs_the_same_shards(self, change, message):
        folders = nodes()
        change(folders[1] / "shards")
        for kind, said in forked(folders, train):
            assert kind is DatasetError
            assert message in said
        assert record(folders[0] / "out").outcome.reason == said

    def test_every_node_needs_the_same_spec(self):
        answers = forked(nodes(), lambda rank: train(rank, learning_rate=1e-3 * (1 + rank)))
        for kind, said in answers:
            assert issubclass(kind, loop.ParamsError)
            assert said.startswith("process 1 (node 1) has another spec than process 0 (node 0): learning_rate")

    def test_a_broken_shard_of_one_node_is_named_by_all(self):
        folders = nodes()
        path = folders[1] / "shards" / "colours-1.tar"
        path.write_bytes(path.read_bytes()[:1000])
        (other, other_said), (own, said) = forked(folders, train)
        assert own is CorruptArchive
        assert "colours-1.tar cannot be read" in said
        assert other is ProcessFailed
        assert other_said == f"process 1 (node 1): {said}"
        assert record(folders[0] / "out").outcome.reason == other_said


@pytest.mark.slow
class TestLoss:
    def test_a_process_that_is_killed(self, monkeypatch, alone):
        folders = nodes()
        original = Pretrainer.train_step
        with monkeypatch.context() as patch:
            patch.setattr(
                Pretrainer,
                "train_step",
                lambda self, step, batch: (killed(5) if self.ranks.rank else original)(self, step, batch),
            )
            begun = time.monotonic()
            (kind, said), nothing = forked(folders, train)
            assert time.monotonic() - begun < 30
        assert nothing is None
        assert kind is ProcessFailed
        assert LOST in said
        assert "continue" in said
        done = record(folders[0] / "out")
        assert (done.outcome.status, done.outcome.reason) == ("failed", said)
        assert [answer[:2] for answer in forked(folders, train)] == [("ok", 9)] * 2
        assert losses(folders[0] / "out") == pytest.approx(alone, abs=2e-5)

    def test_a_process_that_no_longer_answers(self, monkeypatch):
        """As one whose network is gone: nothing says that it has ended, and it does not end before the other."""
        folders, original = nodes(), Pretrainer.train_step

        def silent(self: Pretrainer, step: int, batch: Any) -> Any:
            if self.ranks.rank and step == 3:
                while not (folders[0] / "out" / "pretrain.json").exists():
                    time.sleep(0.1)
                vanish()
            return original(self, step, batch)

        monkeypatch.setattr(Pretrainer, "train_step", silent)
        (kind, said), _ = forked(folders, lambda rank: pretrain(spec(patience=3)))
        assert kind is ProcessFailed
        assert LOST in said
        assert "3000ms" in said

    def test_an_error_of_one_is_not_hidden_by_the_silence_of_the_others(self, monkeypatch):
        """On a shared disk, either may write the record last."""
        (folder,) = nodes(1)
        original = Pretrainer.train_step

        def failing(self: Pretrainer, step: int, batch: Any) -> Any:
            if self.ranks.rank and step == 2:
                raise CorruptArchive("a shard is gone")
            return original(self, step, batch)

        monkeypatch.setattr(Pretrainer, "train_step", failing)
        (lost, _), own = forked([folder, folder], train)
        assert lost is ProcessFailed
        assert own == (CorruptArchive, "a shard is gone")
        assert record(folder / "out").outcome.reason == "a shard is gone"

    def test_divergence_is_said_by_all(self, monkeypatch):
        monkeypatch.setattr(loop, "contrastive", lambda images, *rest: images.sum() * float("nan"))
        assert [kind for kind, _ in forked(nodes(), train)] == [TrainingDiverged] * 2
