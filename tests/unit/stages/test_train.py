"""Training: the pieces of the loop by hand, its alarms, and that a killed run ends with the same checkpoint."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rsitr.datasets.splits import SplitData
from rsitr.datasets.table import DatasetFacts, read_table
from rsitr.errors import RecordError, Unsupported
from rsitr.methods.base import TrainingConfig
from rsitr.methods.vse import VSE
from rsitr.params.ids import CleanId
from rsitr.records.cell import SCORED, TRAINED, Epoch, Record, read_report, trained_identities
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_file
from rsitr.retrieval.recall import ProtocolRanks
from rsitr.stages import setup
from rsitr.stages import train as training
from rsitr.stages.encode import Encoded
from rsitr.stages.setup import CellData, check_usable, load_data
from rsitr.stages.train import Trainer, sample_order, train

FACTS = DatasetFacts("tiny", "Tiny", "generated", "none", True, "root", "sha")
# Three images with 2, 1 and 3 captions.
SPLIT = SplitData(
    list("abc"), [Path(name) for name in "abc"], list("abc"), list("uvwxyz"), np.array([0, 0, 1, 2, 2, 2]), ("", "", "")
)


def test_an_epoch_passes_over_all_captions_and_drops_the_incomplete_batch():
    config = TrainingConfig(batch_size=4)
    batches = sample_order(SPLIT, config, seed=0, epoch=0)
    assert [len(batch) for batch in batches] == [4]
    assert len(set(batches[0])) == 4
    whole = sample_order(SPLIT, TrainingConfig(batch_size=3), seed=0, epoch=0)
    assert sorted(np.concatenate(whole)) == [0, 1, 2, 3, 4, 5]
    assert list(whole[0]) + list(whole[1])[:1] == list(batches[0])  # the order does not depend on the batch size


def test_a_batch_larger_than_the_split_is_the_split():
    assert [len(batch) for batch in sample_order(SPLIT, TrainingConfig(batch_size=50), 0, 0)] == [6]


def test_an_epoch_over_images_draws_one_caption_of_each():
    config = TrainingConfig(samples="images", batch_size=3)
    drawn = [sample_order(SPLIT, config, seed=0, epoch=epoch)[0] for epoch in range(60)]
    assert all(sorted(SPLIT.image_of[batch]) == [0, 1, 2] for batch in drawn)
    assert set(np.concatenate(drawn)) == set(range(6))


def test_the_order_is_a_function_of_seed_and_epoch():
    config = TrainingConfig(batch_size=6)
    orders = {(s, e): tuple(sample_order(SPLIT, config, s, e)[0]) for s in (0, 1) for e in (0, 1)}
    assert len(set(orders.values())) == 4
    assert orders[1, 1] == tuple(sample_order(SPLIT, config, 1, 1)[0])


def build(project, make_spec, seed=0, **settings):
    """A trainer of the tiny project, before its first step."""
    spec = make_spec("vse", seed, **settings)
    data = load_data(spec)
    identity = trained_identities(spec) | {"data": data.facts.data_sha}
    return Trainer(training.build_method(spec, data), data, spec, "cpu", project / "resume.pt", identity)


@pytest.mark.parametrize(("clip_norm", "clipped"), [(None, []), (0.5, [0.5])])
def test_gradients_are_clipped_where_a_norm_is_set(clip_norm, clipped, project, make_spec, monkeypatch):
    norms = []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, norm: norms.append(norm))
    trainer = build(project, make_spec, clip_norm=clip_norm)
    batch = sample_order(trainer.train, trainer.config, 0, 0)[0]
    pictures = next(iter(trainer.inputs.batches([trainer.train.image_of[batch]], 0)))
    trainer.train_step(batch, pictures)
    assert norms == clipped


def test_a_method_may_learn_from_the_classes_of_its_training_images(project, make_spec, monkeypatch):
    seen = []
    build_vse = setup.get_method("vse").build.__func__
    monkeypatch.setattr(
        setup.get_method("vse"),
        "build",
        classmethod(lambda cls, *given: seen.append(given[1]) or build_vse(cls, *given)),
    )
    spec = make_spec("vse")
    data = load_data(spec)
    training.build_method(spec, data)
    [corpus] = seen
    assert corpus.image_names == tuple(path.name for path in data.splits["train"].paths)
    assert corpus.classes == data.splits["train"].classes
    assert all(corpus.classes)


def checkpoint(spec) -> Path:
    return Paths.checkpoint(spec.cell) / "model.safetensors"


def mark(monkeypatch, marks):
    """Give epochs a duplicate-aware recall; the plain one, which decides nothing, falls where it rises."""

    def ranks(*arguments):
        mark = next(marks)
        return ProtocolRanks(100 - mark, mark)

    monkeypatch.setattr(training, "ranks_to_choose_by", ranks)
    monkeypatch.setattr(training, "recall", lambda mark: SimpleNamespace(mr=mark))


def whole(steps: int) -> dict[str, object]:
    """What a report says of a training that ran all its epochs."""
    return {"steps": steps, "ended": "course"}


def test_training_reports_and_keeps_the_weights_of_the_best_epoch(project, make_spec, monkeypatch):
    marks = iter([20.0, 40.0, 30.0])
    seen, states = set(), []
    real = training.encode

    def encode(method, split, inputs, device):
        seen.update(split.image_ids)
        states.append({name: value.clone() for name, value in method.state_dict().items()})
        return real(method, split, inputs, device)

    monkeypatch.setattr(training, "encode", encode)
    mark(monkeypatch, marks)
    spec = make_spec()
    report = train(spec)
    assert report.outcome.status == "ok", report.outcome
    assert report.selection == {
        "split": "val",
        "epoch": 2,
        "mr": 60.0,
        "dup_mr": 40.0,
        "epochs": 3,
        "images": 6,
    } | whole(9)
    assert [(entry.val_mr, entry.val_dup_mr) for entry in report.history] == [(80, 20), (60, 40), (70, 30)]
    kept = load_file(checkpoint(spec))
    assert all(torch.equal(value, states[1][name]) for name, value in kept.items())
    assert not all(torch.equal(value, states[2][name]) for name, value in kept.items())
    assert seen == {f"{number}.png" for number in range(12, 18)}  # val, and never test
    assert report.data["images"] == {"train": 12, "val": 6, "test": 6}
    assert report.data["captions"] == {"train": 24, "val": 12, "test": 12}
    assert report.parameters["trainable"] == report.parameters["total"] > 0
    assert not (Paths.checkpoint(spec.cell) / "resume.pt").exists()


def test_the_epoch_is_chosen_on_some_images_where_so_configured(project, make_spec, monkeypatch):
    seen = []
    real = training.encode

    def encode(method, split, inputs, device):
        encoded = real(method, split, inputs, device)
        seen.append((split, encoded.images))
        return encoded

    monkeypatch.setattr(training, "encode", encode)
    report = train(make_spec(epochs=1, selection_images=3))
    assert report.outcome.status == "ok", report.outcome
    assert report.selection["images"] == 3
    [(split, images)] = seen
    assert split.image_ids == ["12.png", "14.png", "16.png"]
    assert split.image_of.tolist() == [0, 0, 1, 1, 2, 2]
    assert split.hashes == [sha256_file(path) for path in split.paths]
    assert len(images) == 3


def test_of_equal_epochs_the_last_is_chosen(project, make_spec):
    trainer = build(project, make_spec)
    trainer.history = [
        Epoch(epoch=n, loss=1, val_mr=9 - n, val_dup_mr=mr, learning_rate=1, image_cosine=0)
        for n, mr in ((1, 5), (2, 7), (3, 7), (4, 6))
    ]
    assert trainer.chosen_epoch() == 3


def test_the_last_epoch_is_kept_where_so_configured(project, make_spec, monkeypatch):
    marks = iter([40.0, 20.0, 10.0])
    mark(monkeypatch, marks)
    spec = make_spec(choose="last")
    trainer_end = Trainer.end_epoch
    states = []

    def end_epoch(self, epoch, progress):
        trainer_end(self, epoch, progress)
        states.append({name: value.clone() for name, value in self.method.learned_state().items()})

    monkeypatch.setattr(Trainer, "end_epoch", end_epoch)
    report = train(spec)
    assert report.selection == {
        "split": "val",
        "epoch": 3,
        "mr": 90.0,
        "dup_mr": 10.0,
        "epochs": 3,
        "images": 6,
    } | whole(9)
    kept = load_file(checkpoint(spec))
    assert all(torch.equal(kept[name], value) for name, value in states[-1].items())
    assert not torch.equal(kept["image_head.weight"], states[0]["image_head.weight"])


HEAD = {"epochs": 1, "learning_rate": 0.01, "learns": ["image_head."], "from_best": True}
FROM_BEST = {"phases": [{"epochs": 2, "learning_rate": 0.01}, HEAD, HEAD]}


def test_a_phase_may_begin_with_the_best_weights_and_choose_anew(project, make_spec, monkeypatch):
    """The first epoch is the best of all; the last phase, in which only the head learns, has one of its own."""
    marks = iter([40.0, 20.0, 10.0, 5.0])
    states = []
    real = training.encode

    def encode(method, split, inputs, device):
        states.append({name: value.clone() for name, value in method.state_dict().items()})
        return real(method, split, inputs, device)

    monkeypatch.setattr(training, "encode", encode)
    mark(monkeypatch, marks)
    spec = make_spec(**FROM_BEST)
    report = train(spec)
    assert report.selection == {
        "split": "val",
        "epoch": 4,
        "mr": 95.0,
        "dup_mr": 5.0,
        "epochs": 4,
        "images": 6,
    } | whole(12)
    words = [state["text.embed.weight"] for state in states]
    assert not torch.equal(words[0], words[1])
    assert torch.equal(words[2], words[0])
    assert torch.equal(words[3], words[0])
    heads = [state["image_head.weight"] for state in states]
    assert not torch.equal(heads[3], heads[2])
    assert torch.equal(load_file(checkpoint(spec))["image_head.weight"], heads[3])


class Killed(BaseException):
    """What no handler of errors catches, like the end of a process."""


FINE_TUNED = {"augment": "crop-flip", "image_options": {"drop_path_rate": 0.2}, "backbone_learning_rate": 1e-3}


@pytest.mark.parametrize("kind", ["frozen", "fine-tuned with dropout and augmentation"])
@pytest.mark.parametrize("at", [2, 3, 7])
def test_a_killed_run_ends_with_the_same_checkpoint(kind, at, project, make_spec, tiny_bert, once, monkeypatch):
    """Three epochs of three steps, killed in the first epoch, between two epochs, or in the last."""
    transformer = {"text_encoder": "transformer", "text_weights": str(tiny_bert)}
    settings = {"freeze_backbone": True} if kind == "frozen" else FINE_TUNED
    spec = make_spec("vse", **transformer, **settings)
    whole, expected = once(kind, lambda: (train(spec), checkpoint(spec).read_bytes()))
    assert whole.outcome.status == "ok", whole.outcome
    shutil.rmtree("checkpoints", ignore_errors=True)

    step = Trainer.train_step

    def dies(self, batch, pictures):
        if self.step == at:
            raise Killed
        return step(self, batch, pictures)

    monkeypatch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)  # save after every step
    monkeypatch.setattr(Trainer, "train_step", dies)
    with pytest.raises(Killed):
        train(spec)
    assert not checkpoint(spec).exists()
    monkeypatch.setattr(Trainer, "train_step", step)
    continued = train(spec)
    assert checkpoint(spec).read_bytes() == expected
    assert continued.history == whole.history
    assert continued.selection == whole.selection


RATES = [{"epochs": 1, "learning_rate": rate, "optimizer": "adam"} for rate in (0.01, 0.001, 0.02)]
PARTS = [RATES[0], RATES[1] | {"learns": ["text"]}, RATES[2] | {"learns": ["text"]}]


def gathered(trainer) -> dict[str, float]:
    """How many steps each parameter's Adam has seen, by the first part of its name."""
    found = {}
    for name, parameter in trainer.method.named_parameters():
        if parameter in trainer.optimizer.state:
            found[name.split(".")[0]] = float(trainer.optimizer.state[parameter]["step"])
    return found


def test_a_phase_that_changes_the_rate_alone_keeps_the_optimiser(project, make_spec):
    trainer = build(project, make_spec, phases=RATES, schedule="step", backbone_learning_rate=0.5, decays="all")
    kept = trainer.optimizer
    trainer.run()
    assert [round(entry.learning_rate, 9) for entry in trainer.history] == [0.01, 0.001, 0.02]
    assert trainer.optimizer is kept
    assert [group["lr"] for group in kept.param_groups] == [0.02, 0.5]
    assert set(gathered(trainer).values()) == {9.0}  # three steps an epoch


def test_a_phase_over_other_parameters_starts_a_new_one(project, make_spec):
    trainer = build(project, make_spec, phases=PARTS, schedule="step")
    trainer.run()
    assert gathered(trainer)["text"] == 6.0  # of the second and third phase
    assert "image_head" not in gathered(trainer)
    kinds = [RATES[0], RATES[1] | {"optimizer": "adamw"}, RATES[2]]
    trainer = build(project, make_spec, phases=kinds, schedule="step")
    trainer.run()
    assert set(gathered(trainer).values()) == {3.0}


def test_what_does_not_learn_keeps_its_batch_statistics_and_drops_nothing(project, make_spec):
    """Only the text learns in the second phase: what the images go through is as after the first."""
    seen = {}
    trainer = build(project, make_spec, phases=PARTS[:2], schedule="step")
    step = trainer.train_step

    def watched(batch, pictures):
        seen[trainer.step] = {name: value.clone() for name, value in trainer.method.state_dict().items()}
        seen[trainer.step] |= {name: part.training for name, part in trainer.method.named_modules()}
        return step(batch, pictures)

    trainer.train_step = watched
    trainer.run()
    statistics = [name for name in seen[0] if name.startswith("backbone.") and "running" in name]
    assert statistics
    assert not all(torch.equal(seen[0][name], seen[3][name]) for name in statistics)
    assert all(torch.equal(seen[3][name], trainer.method.state_dict()[name]) for name in statistics)
    assert (seen[0]["backbone"], seen[3]["backbone"], seen[3]["text"]) == (True, False, True)


@pytest.mark.parametrize("of", ["rates", "parts"])
@pytest.mark.parametrize("at", [2, 3, 5, 6])
def test_a_run_killed_in_any_phase_ends_with_the_same_weights(of, at, project, make_spec, once, monkeypatch):
    phases = {"rates": RATES, "parts": PARTS}[of]

    def run():
        trainer = build(project, make_spec, phases=phases)
        torch.random.manual_seed(0)
        trainer.run()
        trainer.state_path.unlink()
        return trainer

    whole, step = once(of, run), Trainer.train_step

    def dies(self, batch, pictures):
        if self.step == at:
            raise Killed
        return step(self, batch, pictures)

    monkeypatch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)
    monkeypatch.setattr(Trainer, "train_step", dies)
    torch.random.manual_seed(0)
    with pytest.raises(Killed):
        build(project, make_spec, phases=phases).run()
    monkeypatch.setattr(Trainer, "train_step", step)
    continued = build(project, make_spec, phases=phases)
    assert continued.restore()
    continued.run()
    assert all(
        torch.equal(value, whole.method.state_dict()[name]) for name, value in continued.method.state_dict().items()
    )
    assert gathered(continued) == gathered(whole)
    assert continued.history == whole.history


@pytest.mark.parametrize("at", [4, 6, 7, 9])
def test_a_run_killed_around_a_phase_from_the_best_weights_ends_with_the_same_checkpoint(
    at, project, make_spec, once, monkeypatch
):
    """Four epochs of three steps; the second phase begins after six, the third after nine."""
    spec = make_spec(**FROM_BEST)
    step = Trainer.train_step

    def run(kill, marks):
        def dies(self, batch, pictures):
            if self.step == kill:
                raise Killed
            return step(self, batch, pictures)

        left = iter(marks)
        monkeypatch.setattr(Trainer, "train_step", dies)
        mark(monkeypatch, left)
        return train(spec)

    marks = [40.0, 20.0, 30.0, 10.0]
    whole, expected = once("from the best", lambda: (run(None, marks), checkpoint(spec).read_bytes()))
    assert whole.outcome.status == "ok", whole.outcome
    shutil.rmtree("checkpoints", ignore_errors=True)
    monkeypatch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)
    with pytest.raises(Killed):
        run(at, marks)
    continued = run(None, marks[at // 3 :])
    assert checkpoint(spec).read_bytes() == expected
    assert continued.history == whole.history


def test_a_cold_cache_of_tokens_gives_the_same_checkpoint_as_a_warm_one(project, make_spec, tiny_bert):
    transformer = {"text_encoder": "transformer", "text_weights": str(tiny_bert)}
    spec = make_spec("vse", freeze_backbone=True, **transformer)
    train(spec)
    cold = checkpoint(spec).read_bytes()
    assert list(Path("cache/tokens").glob("*.npy"))
    train(spec)
    assert checkpoint(spec).read_bytes() == cold


def test_seeds_differ_and_equal_seeds_agree(project, make_spec):
    sums = []
    for seed in (0, 0, 1):
        spec = make_spec("vse", seed, epochs=1)
        train(spec)
        sums.append({name: value.sum().item() for name, value in load_file(checkpoint(spec)).items()})
    assert sums[0] == sums[1]
    assert sums[0] != sums[2]


def killed_at(step, spec, monkeypatch):
    """Train a cell until its process dies at a step, with the state of the step before saved."""
    real = Trainer.train_step

    def dies(self, batch, pictures):
        if self.step == step:
            raise Killed
        return real(self, batch, pictures)

    with monkeypatch.context() as patch:
        patch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)
        patch.setattr(Trainer, "train_step", dies)
        with pytest.raises(Killed):
            train(spec)
    return Paths.checkpoint(spec.cell) / "resume.pt"


@pytest.mark.parametrize("damage", [b"", b"not a state file", "cut", "one bit"])
def test_a_damaged_state_is_set_aside_and_costs_time_and_not_correctness(
    damage, project, make_spec, once, monkeypatch, capsys
):
    spec = make_spec()
    _, expected = once("undamaged", lambda: (train(spec), checkpoint(spec).read_bytes()))
    shutil.rmtree("checkpoints", ignore_errors=True)
    state = killed_at(2, spec, monkeypatch)
    whole = state.read_bytes()
    spoilt = {"cut": whole[:-1], "one bit": whole[:-1] + bytes([whole[-1] ^ 1])}.get(damage, damage)
    state.write_bytes(spoilt)
    assert train(spec).outcome.status == "ok"
    assert checkpoint(spec).read_bytes() == expected
    assert state.with_name("resume.pt.damaged").read_bytes() == spoilt
    shown = capsys.readouterr().err
    assert "resume.pt.damaged is damaged: training begins again" in shown
    assert "continuing" not in shown


@pytest.mark.parametrize(
    ("changed", "continues"),
    [("nothing", True), ("code of evaluation", True), ("code", False), ("parameters", False), ("data", False)],
)
def test_only_the_same_training_is_continued(changed, continues, project, make_spec, monkeypatch, capsys):
    spec = make_spec()
    killed_at(2, spec, monkeypatch)
    table = Paths.clean(CleanId("scenes-b"))
    match changed:
        case "code of evaluation":
            spec = spec.model_copy(update={"code": spec.code | {SCORED: "1" * 64}})
        case "code":
            spec = spec.model_copy(update={"code": spec.code | {TRAINED: "1" * 64}})
        case "parameters":
            spec = make_spec(learning_rate=0.02)
        case "data":
            rows, facts = read_table(table)
            write_table(rows, facts._replace(data_sha="0" * 64), table)
    assert train(spec).outcome.status == "ok"
    assert ("continuing at step 2" in capsys.readouterr().err) is continues


def test_the_report_names_what_the_weights_are_of(project, make_spec):
    spec = make_spec(epochs=1)
    report = train(spec)
    assert report.identities == {"parameters": spec.params_sha, "trained": "0" * 64}
    assert report.data_sha == load_data(spec).facts.data_sha
    assert report.weights_sha == sha256_file(checkpoint(spec))
    assert report.used == {}
    assert read_report(spec.cell) == report


@pytest.mark.parametrize(("threads", "used"), [(1, 1), (1000, os.cpu_count())])
def test_the_report_states_the_threads_really_used(threads, used, project, make_spec, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(setup, "_prepared", [])
    try:
        report = train(make_spec("chance").model_copy(update={"threads": threads}))
        assert report.machine["threads"] == torch.get_num_threads() == used
    finally:
        torch.set_num_threads(before)


def test_nothing_is_kept_against_an_objection(project, make_spec):
    spec = make_spec(epochs=1)

    def object_to():
        raise RecordError("the sources have changed")

    with pytest.raises(RecordError, match="the sources have changed"):
        train(spec, object_to)
    assert not checkpoint(spec).exists()
    assert read_report(spec.cell) is None


def test_alarm_when_the_loss_is_not_finite(project, make_spec, monkeypatch):
    monkeypatch.setattr(VSE, "loss", lambda self, batch: self.image_head.weight.sum() * float("nan"))
    report = train(make_spec())
    assert report.outcome.status == "failed"
    assert report.outcome.reason.startswith("the loss became nan at step 0: lower learning_rate")
    assert report.outcome.traceback.splitlines()[-1].startswith("rsitr.errors.TrainingDiverged: the loss became nan")


def test_alarm_when_the_embeddings_are_not_finite(project, make_spec, monkeypatch):
    nothing = torch.full((6, 16), float("nan"))
    monkeypatch.setattr(training, "encode", lambda *a: Encoded(nothing, nothing, nothing))
    report = train(make_spec())
    assert report.outcome.reason.startswith("the embeddings became NaN in epoch 1")


def test_alarm_when_all_images_have_one_embedding_for_three_epochs(project, make_spec, monkeypatch):
    cosines = iter([0.9995, 0.5, 0.9995, 0.9995, 0.9995, 0.2])
    monkeypatch.setattr(training, "collapse", lambda encoded: next(cosines) if len(encoded) == 6 else 0.0)
    report = train(make_spec("vse", epochs=6))
    assert report.outcome.status == "failed"
    assert "all images have had one embedding for 3 epochs (mean cosine 0.9995)" in report.outcome.reason
    assert next(cosines) == 0.2  # epochs 3 to 5 sound the alarm, 1 does not count


def test_alarm_when_all_texts_have_one_embedding(project, make_spec, monkeypatch):
    monkeypatch.setattr(training, "collapse", lambda encoded: 0.99995 if len(encoded) == 12 else 0.0)
    assert "all texts have had one embedding" in train(make_spec("vse", epochs=4)).outcome.reason


def test_alarm_when_no_text_finds_its_image(project, make_spec, monkeypatch):
    """Of batches of 8 captions, nothing that says the same of all of them can do better than chance."""
    monkeypatch.setattr(training, "collapse", lambda encoded: 0.0)
    monkeypatch.setattr(VSE, "encode_texts", lambda self, tokens: self.text_head.weight[:1].expand(len(tokens), -1))
    reason = train(make_spec("vse", epochs=30)).outcome.reason
    assert "the contrastive loss has stayed at chance for 3 epochs" in reason
    assert "ln 8 is 2.0794" in reason


def test_the_history_has_the_loss_of_every_task(project, make_spec):
    """PIR's tasks are two; their means are over the steps of an epoch, as that of the loss is."""
    report = train(make_spec("pir-itr-soft", epochs=2, instruction_weights="none"))
    assert report.outcome.status == "ok", report.outcome
    for epoch in report.history:
        assert list(epoch.tasks) == ["contrastive", "affiliation"]
        assert sum(epoch.tasks.values()) == pytest.approx(epoch.loss, rel=1e-6)
    assert [epoch.tasks for epoch in train(make_spec("vse++", epochs=1)).history] == [{}]


def test_a_failed_cell_leaves_files_that_say_so(project, make_spec, monkeypatch):
    def broken(self, batch):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(VSE, "loss", broken)
    spec = make_spec()
    train(spec)
    report = json.loads((Paths.checkpoint(spec.cell) / "train.json").read_text(encoding="utf-8"))
    assert report["outcome"]["status"] == "failed"
    assert report["outcome"]["reason"] == "RuntimeError: shapes do not match"
    assert "in broken" in report["outcome"]["traceback"]
    assert report["config"]["epochs"] == 3
    with safe_open(checkpoint(spec), "pt") as file:
        assert file.metadata() == {"cell": "tiny/scenes-b/vse/0"}
        assert list(file.keys()) == []


def test_absent_weights_skip_a_cell(project, make_spec):
    report = train(make_spec("vse", image_weights="no/such.safetensors"))
    assert (report.outcome.status, report.outcome.traceback) == ("skipped", "")
    assert report.outcome.reason.startswith("weights unavailable: such.safetensors")


def test_report_and_record_name_the_weights_that_it_began_with(project, make_spec, tiny_bert):
    spec = make_spec("vse", text_encoder="transformer", text_weights=str(tiny_bert))
    report = train(spec)
    assert list(report.pretrained) == ["text_weights"]
    begun = report.pretrained["text_weights"]
    assert begun.location == tiny_bert.name
    assert begun.files["model.safetensors"] == sha256_file(tiny_bert / "model.safetensors")
    assert Record.begun(spec, read_report(spec.cell)).pretrained == report.pretrained


def test_weights_of_another_architecture_fail_it(project, make_spec):
    save_file({"fc.weight": torch.ones(1)}, "other.safetensors")
    report = train(make_spec("vse", image_weights="other.safetensors"))
    assert report.outcome.status == "failed"
    assert report.outcome.reason.startswith("other.safetensors belongs to another architecture")


def test_settings_that_a_method_does_not_have_fail_it(project, make_spec):
    report = train(make_spec("vse", epoch=3))
    assert report.outcome.reason == "settings of vse are not valid: epoch: Extra inputs are not permitted"


def test_data_that_was_not_built_fails_it(project, make_spec):
    Paths.clean(CleanId("scenes-b")).unlink()
    report = train(make_spec())
    assert report.outcome.status == "failed"
    assert "clean-official-none.parquet is missing: build it with `snakemake" in report.outcome.reason


def test_a_method_without_training_has_an_empty_checkpoint(project, make_spec):
    spec = make_spec("chance")
    report = train(spec)
    assert (report.outcome.status, report.parameters) == ("ok", {"total": 0, "trainable": 0})
    assert load_file(checkpoint(spec)) == {}


def test_a_split_without_images_is_unsupported_and_says_why(make_spec):
    empty = SplitData([], [], [], [], np.array([], dtype=np.int64), ())
    splits = {"train": SPLIT, "val": empty, "test": SPLIT}
    check_usable(make_spec("chance"), CellData(splits, FACTS, {}))
    with pytest.raises(Unsupported, match="no usable images in val: 58 x missing image"):
        check_usable(make_spec("vse"), CellData(splits, FACTS, {"missing image": 58}))
    with pytest.raises(Unsupported, match="no usable images in test: the dataset has none"):
        check_usable(make_spec("chance"), CellData(splits | {"test": empty}, FACTS, {}))
