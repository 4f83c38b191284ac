"""Pre-training: the same curve on two processes, the same weights after a kill, and what a record says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from rsitr.cli import app
from rsitr.errors import CorruptArchive, DatasetError, ParamsError, TrainingDiverged
from rsitr.nn.clip_models import OWN
from rsitr.pretraining import loop
from rsitr.pretraining.loop import Pretrainer, make_optimizer, pretrain
from rsitr.pretraining.ranks import Ranks
from rsitr.pretraining.spec import load_spec
from tests.helpers.mini_clip import MINI, losses, record, saved, spec
from tests.helpers.shards_of_colours import write_colours


@pytest.fixture(autouse=True)
def mini(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(OWN, "mini", MINI)
    monkeypatch.chdir(tmp_path)


class TestRun:
    def test_it_learns_and_says_how(self):
        write_colours(Path("shards"), broken=(3, 5))
        done = pretrain(spec(epochs=12))
        assert done == record("out")
        assert done.outcome.status == "ok"
        assert done.samples == 24
        assert done.steps == 36
        assert done.skipped == {"image broken": 2}
        assert done.skipped_samples == ["colours-0.tar: 003.png: image broken", "colours-0.tar: 005.png: image broken"]
        assert [entry.epoch for entry in done.history] == list(range(1, 13))
        values = losses("out")
        assert done.history[1].loss == pytest.approx(sum(values[3:6]) / 3)
        assert values[0] > 1.9  # chance is log(8) = 2.08, or log(7) with a broken sample
        assert done.history[-1].loss < 1.5
        assert done.samples_per_second > 0
        assert done.peak_memory_mib["process"] > 0
        assert not Path("out/resume.pt").exists()
        weights = load_file("out/model.safetensors")
        assert sum(value.numel() for name, value in weights.items()) == done.parameters["total"]

    def test_workers_change_nothing(self):
        write_colours(Path("shards"))
        first, second = pretrain(spec("one", epochs=1)), pretrain(spec("two", epochs=1, workers=2))
        assert first.weights_sha == second.weights_sha

    def test_checkpointing_changes_nothing_but_memory(self):
        write_colours(Path("shards"))
        pretrain(spec("one", epochs=1))
        pretrain(spec("two", epochs=1, grad_checkpointing=True))
        assert losses("one") == pytest.approx(losses("two"), abs=1e-5)

    def test_shards_are_read_one_after_another(self, monkeypatch):
        """Each ahead of its samples; all shards at a time are the plain order."""
        read: list[str] = []
        monkeypatch.setattr("rsitr.pretraining.samples._read_whole", lambda path: read.append(path.name))
        write_colours(Path("shards"))
        pretrain(spec("plain", epochs=2))
        assert read == []
        pretrain(spec("all", epochs=2, shards_at_once=3))
        assert losses("all") == losses("plain")
        read.clear()
        pretrain(spec("single", epochs=2, shards_at_once=1, workers=2))
        assert losses("single") != losses("plain")
        every = [f"colours-{number}.tar" for number in range(3)]
        assert sorted(read[:3]) == sorted(read[3:6]) == every

    def test_an_epoch_may_have_its_own_length(self):
        write_colours(Path("shards"))
        done = pretrain(spec(epochs=2, samples_per_epoch=40))
        assert done.steps == 10  # 5 batches of 8 an epoch, over a set of 3 batches

    def test_an_instructed_model(self):
        write_colours(Path("shards"))
        done = pretrain(spec(epochs=1, instruction={"layers": [1, 1, 1, 1], "width": 2}))
        weights = load_file("out/model.safetensors")
        fixed = [name for name in weights if name.startswith("visual.instruction.layer")]
        assert fixed
        assert done.parameters["trainable"] < done.parameters["total"]


class TestResume:
    @pytest.mark.parametrize("save_seconds", [0, 60])
    def test_a_killed_run_ends_with_the_same_weights(self, monkeypatch, once, save_seconds):
        """Saved in the midst of the second epoch, or at the end of the first."""
        write_colours(Path("shards"), broken=(2,))
        whole, curve = once("whole", lambda: (pretrain(spec("whole")), losses("whole")))
        original = Pretrainer.train_step

        def killed(self: Pretrainer, step: int, batch: Any) -> float:
            if step == 5:
                raise KeyboardInterrupt
            return original(self, step, batch)

        monkeypatch.setattr("rsitr.stages.steps.SAVE_SECONDS", save_seconds)
        monkeypatch.setattr(Pretrainer, "train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(spec("killed"))
        state = saved("killed")
        assert len(state["steps"]["losses"]) == (5 if save_seconds == 0 else 3)
        steps: list[int] = []
        monkeypatch.setattr(
            Pretrainer, "train_step", lambda self, step, batch: steps.append(step) or original(self, step, batch)
        )
        continued = pretrain(spec("killed"))
        assert steps[0] == len(state["steps"]["losses"])
        assert continued.weights_sha == whole.weights_sha
        assert losses("killed") == curve
        assert continued.skipped == whole.skipped == {"image broken": 1}

    def test_a_damaged_state_is_set_aside(self, capsys):
        write_colours(Path("shards"))
        fresh = pretrain(spec("fresh", seed=1))
        Path("out").mkdir()
        Path("out/resume.pt").write_bytes(b"PK\x03\x04 cut")
        assert pretrain(spec(seed=1)).weights_sha == fresh.weights_sha
        assert Path("out/resume.pt.damaged").read_bytes() == b"PK\x03\x04 cut"
        assert "out/resume.pt.damaged is damaged: training begins again" in capsys.readouterr().err

    def test_a_state_of_another_run_does_not_count(self, monkeypatch):
        write_colours(Path("shards"))
        fresh = pretrain(spec("fresh", seed=1))

        original = Pretrainer.train_step

        def killed(self: Pretrainer, step: int, batch: Any) -> float:
            if step == 1:
                raise KeyboardInterrupt
            return original(self, step, batch)

        with monkeypatch.context() as patch:
            patch.setattr("rsitr.stages.steps.SAVE_SECONDS", 0)
            patch.setattr(Pretrainer, "train_step", killed)
            with pytest.raises(KeyboardInterrupt):
                pretrain(spec(seed=2))
        assert len(saved("out")["steps"]["losses"]) == 1
        assert pretrain(spec(seed=1)).weights_sha == fresh.weights_sha

    def test_a_run_that_has_ended_is_not_repeated(self, monkeypatch):
        write_colours(Path("shards"))
        first = pretrain(spec())
        monkeypatch.setattr(Pretrainer, "run", lambda self: pytest.fail("trained again"))
        assert pretrain(spec()) == first
        with pytest.raises(pytest.fail.Exception):
            pretrain(spec(seed=1))


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one():
    """With torchrun, gloo and a broken sample in the part of either process."""
    write_colours(Path("shards"), broken=(1, 10, 11))
    fields = {"model": "tiny-64", "epochs": 2}
    alone = pretrain(spec("one", **fields))
    plain = spec("two", **fields).model_dump(mode="json")
    Path("two.yaml").write_text(yaml.safe_dump(plain))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command = [*torchrun, "--nproc-per-node", "2", "-m", "rsitr.pretraining", "two.yaml"]
    result = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    together = record("two")
    assert together.processes == 2
    assert together.skipped == alone.skipped == {"image broken": 3}
    assert losses("two") == pytest.approx(losses("one"), abs=2e-5)
    first, second = (load_file(f"{folder}/model.safetensors") for folder in ("one", "two"))
    assert all(torch.allclose(first[name], second[name], atol=1e-3) for name in first)


class TestFailure:
    def test_divergence_is_recorded(self, monkeypatch):
        write_colours(Path("shards"))
        monkeypatch.setattr(loop, "contrastive", lambda images, *rest: images.sum() * torch.nan)
        with pytest.raises(TrainingDiverged, match="the loss became nan at step 0"):
            pretrain(spec())
        assert record("out").outcome.status == "failed"
        assert "lower learning_rate" in record("out").outcome.reason
        assert not Path("out/model.safetensors").exists()

    def test_a_shard_that_breaks_off_is_recorded(self):
        path = write_colours(Path("shards"))[1]
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(CorruptArchive):
            pretrain(spec())
        assert record("out").outcome.status == "failed"
        assert "colours-1.tar cannot be read" in record("out").outcome.reason

    def test_a_batch_without_two_samples(self):
        write_colours(Path("shards"), shards=1, broken=tuple(range(7)))
        with pytest.raises(DatasetError, match="at step 0 fewer than two samples of a batch could be read"):
            pretrain(spec())
        assert record("out").skipped == {}

    @pytest.mark.parametrize(
        ("fields", "error", "message"),
        [
            ({"batch_size": 99}, DatasetError, "hold 24 samples, fewer than batch_size 99"),
            ({"samples_per_epoch": 7}, ParamsError, "samples_per_epoch is less than batch_size 8"),
            ({"shards": ("none/*.tar",)}, DatasetError, r"no file is like none/\*\.tar"),
            ({"model": "ViT-Z"}, ParamsError, "unknown CLIP model 'ViT-Z'"),
        ],
    )
    def test_what_a_spec_asks_has_to_be_there(self, fields, error, message):
        write_colours(Path("shards"))
        with pytest.raises(error, match=message):
            pretrain(spec(**fields))
        assert record("out").outcome.status == "failed"

    def test_batch_statistics_cannot_be_shared_without_a_gpu(self):
        with pytest.raises(ParamsError, match="learns batch statistics"):
            Ranks(0, 2, "cpu").share(nn.Sequential(nn.BatchNorm2d(3)))


class TestSpec:
    def test_shards_are_sorted_within_a_pattern(self):
        for name in ("b/2.tar", "b/1.tar", "a/3.tar"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).touch()
        found = spec(shards=("b/*.tar", "a/3.tar", str(Path.cwd() / "a" / "[0-9].tar"))).shard_paths()
        assert found == [Path("b/1.tar"), Path("b/2.tar"), Path("a/3.tar"), Path.cwd() / "a/3.tar"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("shards: [a.tar]", "is not a valid spec: out: Field required"),
            ("shards: []\nout: x", "shards: Tuple should have at least 1"),
            ("shards: [a.tar]\nout: x\nepochs: 0\nrate: 1", "epochs: Input should be .*; rate: Extra inputs"),
            ("just words", "spec: Input should be"),
            ("a: [", "cannot be read"),
        ],
    )
    def test_what_is_wrong_is_named(self, text, message):
        Path("spec.yaml").write_text(text)
        with pytest.raises(ParamsError, match=message):
            load_spec(Path("spec.yaml"))

    def test_only_matrices_decay(self):
        model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1).requires_grad_(False))
        decayed, spared = make_optimizer(model, spec()).param_groups
        assert (decayed["weight_decay"], spared["weight_decay"]) == (0.2, 0)
        assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(3, 2)]
        assert [tuple(parameter.shape) for parameter in spared["params"]] == [(3,), (3,), (3,)]


def test_command():
    write_colours(Path("shards"), broken=(1,))
    Path("spec.yaml").write_text(yaml.safe_dump(spec(epochs=1).model_dump(mode="json")))
    result = CliRunner().invoke(app, ["pretrain", "spec.yaml"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("out: 3 steps, loss ")
    assert result.stdout.endswith(" samples/s, left out: 1 x image broken\n")
    refused = CliRunner().invoke(app, ["pretrain", "none.yaml"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("rsitr: none.yaml cannot be read")
