"""Training of a prior: what comes out, that it is a function of the seed, and what is refused."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rsitr.dedup.prior_images import SceneImage, Selection, select
from rsitr.errors import RecordError
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.locations import resolve
from rsitr.records.paths import Paths
from rsitr.records.prior import SceneRecord
from rsitr.records.provenance import sha256_file
from rsitr.stages.prior import (
    SceneClassifier,
    SceneTrainer,
    class_accuracies,
    sample_order,
    train,
)
from tests.helpers.scene_sets import draw_set, prior_spec, put_near_duplicates, put_set

TINY = {
    **{"image_backbone": "test_resnet", "image_weights": "none", "image_size": 32, "augment": "crop-flip"},
    **{"epochs": 3, "batch_size": 5, "held_out": 0.34, "learning_rate": 0.01, "backbone_learning_rate": 0.01},
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_set("world")
    Paths.prior_weights(spec_of().id).parent.mkdir(parents=True)
    return tmp_path


def spec_of(**changes):
    prior = {name: changes.pop(name) for name in ("seed", "without", "datasets") if name in changes}
    return prior_spec(**({"datasets": ["world"]} | prior), settings=TINY | changes)


def weights(spec):
    return Paths.prior_weights(spec.id).read_bytes()


def test_the_backbone_is_one_that_methods_load():
    spec = spec_of()
    record = train(spec)
    assert record.outcome.status == "ok", record.outcome
    assert record == SceneRecord.read(spec.record_file)
    path = Paths.prior_weights(spec.id)
    assert record.weights_sha == sha256_file(path)
    assert resolve("scenes://tiny/mine") == path
    loaded = ImageBackbone("test_resnet", "scenes://tiny/mine", 32)
    assert set(load_file(path)) == set(loaded.model.state_dict())
    assert not any(name.startswith(("fc.", "classifier")) for name in load_file(path))


def test_the_record_names_the_weights_that_it_began_with():
    state = ImageBackbone("test_resnet", "none", 32).model.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, "begun.safetensors")
    (begun,) = train(spec_of(image_weights="begun.safetensors")).pretrained.values()
    assert (begun.location, begun.files) == (
        "begun.safetensors",
        {"begun.safetensors": sha256_file(Path("begun.safetensors"))},
    )


def test_the_record_says_what_was_learned_from_and_how_well(folder):
    spec = spec_of()
    record = train(spec)
    assert record.images == {"train": 12, "held_out": 6}  # of each class round(6 * 0.34) = 2
    assert {name: (each.images, each.held_out) for name, each in record.classes.items()} == dict.fromkeys(
        ("blue", "green", "red"), (4, 2)
    )
    assert len(record.loss) == 3
    assert record.loss[-1] < record.loss[0]
    assert record.accuracy == pytest.approx(100 * sum(each.correct for each in record.classes.values()) / 6)
    assert record.mean_class_accuracy == pytest.approx(record.accuracy)  # the classes have as many images
    assert record.config["image_backbone"] == "test_resnet"
    assert (record.synthetic, record.seed, record.machine["threads"]) == (True, 0, 1)
    assert record.identities == {"parameters": spec.params_sha, "code": "0" * 64}
    assert record.data_sha == select(spec).data_sha
    assert record.parameters > 1000
    assert not Paths.prior_weights(spec.id).with_name("resume.pt").exists()


def test_colours_can_be_told_apart():
    assert train(spec_of(epochs=12, augment="none")).accuracy == 100.0


def test_the_accuracy_is_that_of_the_held_out_images():
    spec = spec_of(augment="none")
    selection = select(spec)
    trainer = SceneTrainer(spec, selection, "cpu")
    trainer.run()
    loader = torch.from_numpy(np.stack([_pixels(image.path) for image in selection.held_out])).float() / 255
    mean, std = (torch.tensor(getattr(trainer.model.backbone.pixels, name))[:, None, None] for name in ("mean", "std"))
    with torch.inference_mode():
        logits = torch.cat([trainer.model.eval()(((pixels - mean) / std)[None]) for pixels in loader])
    expected = [
        selection.classes[place] == image.class_name
        for place, image in zip(logits.argmax(1), selection.held_out, strict=True)
    ]
    assert trainer.told(selection.held_out).tolist() == expected


def _pixels(path):
    from rsitr.datasets.images import load_rgb

    return np.asarray(load_rgb(path)).transpose(2, 0, 1)


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    train(spec_of())
    first = weights(spec_of())
    train(spec_of())
    assert weights(spec_of()) == first
    train(spec_of(seed=1))
    assert weights(spec_of()) != first


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(monkeypatch):
    spec = spec_of()
    train(spec)
    whole = weights(spec)
    steps, step = [], SceneTrainer.train_step

    def dying(self, *arguments):
        if len(steps) == 3:  # in the second epoch, of two batches each
            raise KeyboardInterrupt
        steps.append(1)
        return step(self, *arguments)

    monkeypatch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)  # after every step
    monkeypatch.setattr(SceneTrainer, "train_step", dying)
    with pytest.raises(KeyboardInterrupt):
        train(spec)
    monkeypatch.setattr(SceneTrainer, "train_step", lambda self, *rest: steps.append(1) or step(self, *rest))
    record = train(spec)
    assert len(steps) == 6  # none of them twice
    assert len(record.loss) == 3
    assert weights(spec) == whole


def test_a_state_of_other_images_code_or_parameters_is_not_continued():
    spec = spec_of()
    SceneTrainer(spec, select(spec), "cpu").save()
    assert SceneTrainer(spec, select(spec), "cpu").restore()
    for other in (spec_of(learning_rate=0.02), spec.model_copy(update={"code": {"code": "1" * 64}})):
        assert not SceneTrainer(other, select(other), "cpu").restore()
    draw_set("world", per_class=5)
    assert not SceneTrainer(spec, select(spec), "cpu").restore()


@pytest.mark.parametrize("damage", [b"", b"half of", "one bit"])
def test_a_damaged_state_is_set_aside_and_training_begins_again(damage, capsys):
    spec = spec_of()
    SceneTrainer(spec, select(spec), "cpu").save()
    state = Paths.prior_weights(spec.id).with_name("resume.pt")
    whole = state.read_bytes()
    state.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage == "one bit" else damage)
    assert train(spec).outcome.status == "ok"
    assert "resume.pt.damaged is damaged: training begins again" in capsys.readouterr().err
    assert state.with_name("resume.pt.damaged").is_file()
    assert not state.exists()


def test_nothing_is_kept_against_an_objection():
    def object_to():
        raise RecordError("the sources have changed")

    with pytest.raises(RecordError):
        train(spec_of(), object_to)
    assert SceneRecord.read(spec_of().record_file) is None
    assert not Paths.prior_weights(spec_of().id).exists()


def test_planted_copies_are_left_out_and_listed():
    put_set("city", [("t", "test", "red")])
    put_near_duplicates("world", "world")
    put_near_duplicates("city", "city")
    put_near_duplicates("city", "world", (("t", "red_3.png"),))
    spec = spec_of(without=["city"])
    record = train(spec)
    assert record.left_out == {"world: near duplicate in city test": 1}
    assert record.images == {"train": 11, "held_out": 6}
    with (Paths.prior(spec.id) / "left_out.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["dataset", "image", "class", "reason"],
            ["world", "red_3.png", "red", "near duplicate in city test"],
        ]
    with_it = spec_of()
    kept = weights(spec)
    train(with_it)
    assert weights(with_it) != kept


def test_what_cannot_be_trained_leaves_a_record_and_no_weights():
    put_set("world", [("a", "train", "red")])
    record = train(spec_of())
    assert record.outcome.status == "failed"
    assert "has images of 1 scene class only" in record.outcome.reason
    assert (record.weights_sha, record.accuracy) == ("", None)
    assert load_file(Paths.prior_weights(spec_of().id)) == {}


def test_weights_that_cannot_be_had_are_no_failure():
    record = train(spec_of(image_weights="package://no_such_package/model.safetensors"))
    assert record.outcome.status == "skipped"
    assert "no_such_package" in record.outcome.reason


@pytest.mark.parametrize("wrong", ["missing", "extra"])
def test_initial_weights_of_another_architecture_are_refused_by_name(wrong, folder):
    state = dict(ImageBackbone("test_resnet", "none", 32).model.state_dict())
    named = "stem.9.weight" if wrong == "extra" else next(iter(state))
    state = {name: value.contiguous() for name, value in state.items() if name != named}
    save_file(state | ({named: torch.zeros(1)} if wrong == "extra" else {}), folder / "mine.safetensors")
    outcome = train(spec_of(image_weights=str(folder / "mine.safetensors"))).outcome
    assert outcome.status == "failed"
    assert "mine.safetensors belongs to another architecture" in outcome.reason
    assert named in outcome.reason


class Bomb:
    def __reduce__(self):
        return (print, ("code of a stranger ran",))


def test_a_pickle_with_code_is_not_opened(folder, capsys):
    with (folder / "mine.pt").open("wb") as file:
        pickle.dump({"weight": Bomb()}, file, protocol=2)
    outcome = train(spec_of(image_weights=str(folder / "mine.pt"))).outcome
    assert outcome.status == "failed"
    assert "mine.pt is not weights alone, it asks for code to be run" in outcome.reason
    assert "stranger ran" not in capsys.readouterr().out


def test_a_loss_that_is_no_number_ends_the_run_with_advice(monkeypatch):
    monkeypatch.setattr(
        SceneClassifier,
        "forward",
        lambda self, pixels: self.classifier.weight.sum() * torch.full((len(pixels), 3), torch.nan),
    )
    record = train(spec_of())
    assert record.outcome.status == "failed"
    assert record.outcome.reason == "the loss became nan at step 0: lower the learning rates of the prior"


def test_an_epoch_shows_every_image_once():
    order = sample_order(7, 3, seed=0, epoch=0)
    assert [len(batch) for batch in order] == [3, 3]
    assert len(set(np.concatenate(order).tolist())) == 6
    assert [batch.tolist() for batch in sample_order(2, 3, 0, 0)] in ([[0, 1]], [[1, 0]])
    assert np.concatenate(sample_order(50, 5, 0, 1)).tolist() != np.concatenate(sample_order(50, 5, 0, 2)).tolist()


def test_accuracies_by_class():
    def images(*classes):
        return [SceneImage("world", str(number), None, "", name) for number, name in enumerate(classes)]

    chosen = Selection(images("farm", "port", "port", "dune"), images("port", "farm", "port"), [], (), False)
    found = class_accuracies(chosen, np.array([True, False, False]))
    assert {name: (each.images, each.held_out, each.correct, each.accuracy) for name, each in found.items()} == {
        "dune": (1, 0, 0, None),
        "farm": (1, 1, 0, 0.0),
        "port": (2, 2, 1, 50.0),
    }
