"""A cell that learns from another: the teacher's scores, what training makes of them, a teacher that is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from rsitr.errors import Unsupported
from rsitr.methods.lw_mcr import LWMCR, LWMCRConfig
from rsitr.methods.vse import VSE
from rsitr.nn.inputs import PixelInputs
from rsitr.records.artefact import Outcome
from rsitr.records.cell import TrainReport
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_file
from rsitr.stages.evaluate import evaluate, load_checkpoint
from rsitr.stages.setup import build_method, load_data
from rsitr.stages.teacher import Teacher
from rsitr.stages.train import Trainer, train

STUDENT = {"epochs": 2, "text_channels": 4, "augment": "crop-flip"}


@pytest.fixture
def taught(make_spec):
    """``taught(**settings)``: the spec of a student of ``vse``."""

    def make(**settings):
        spec = make_spec("lw-mcr@mine", teacher="vse", **(STUDENT | settings))
        own = {name: value for name, value in spec.settings.items() if name in LWMCRConfig.model_fields}
        return spec.model_copy(update={"settings": own, "teacher": make_spec("vse", epochs=1)})

    return make


def weights(spec):
    return Paths.checkpoint(spec.cell) / "model.safetensors"


def encodings(spec):
    """Every image and caption of the training split, as the trained method of a cell encodes them one by one."""
    data = load_data(spec)
    method = build_method(spec, data).eval()
    load_checkpoint(method, weights(spec))
    split = data.splits["train"]
    pixels = next(PixelInputs(split.paths, method.pixels).batches([np.arange(len(split.paths))]))
    with torch.inference_mode():
        texts = [method.encode_texts(method.tokenize([caption])) for caption in split.captions]
        return method.encode_images(pixels), torch.cat(texts)


@pytest.mark.parametrize("settings", [{}, {"freeze_backbone": True}])
def test_scores_are_the_teachers_of_these_images_and_captions(settings, project, make_spec):
    spec = make_spec("vse", epochs=1, **settings)
    train(spec)
    images, texts = encodings(spec)
    places, captions = torch.tensor([3, 0, 3]), torch.tensor([7, 1, 6])
    tolerance = {"atol": 1e-2, "rtol": 0} if settings else {}  # the cache of tokens has half precision
    found = Teacher(spec, "cpu").scores(places, captions)
    torch.testing.assert_close(found, images[places] @ texts[captions].t(), **tolerance)
    (F.relu(found) * torch.ones(3, 3, requires_grad=True)).sum().backward()  # a loss may be made of them


def test_a_teacher_that_interacts_scores_by_its_own_rule(project, make_spec, monkeypatch):
    spec = make_spec("vse", epochs=1)
    train(spec)
    images, texts = encodings(spec)
    monkeypatch.setattr(VSE, "score", lambda self, images, texts: -torch.cdist(images, texts, p=1))
    found = Teacher(spec, "cpu").scores(torch.arange(4), torch.arange(5))
    expected = -(images[:4, None] - texts[None, :5]).abs().sum(2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_student_learns_from_its_teacher_and_keeps_nothing_of_it(project, taught):
    spec = taught()
    teacher = train(spec.teacher)
    report = train(spec)
    assert report.outcome == Outcome()
    assert report.used == {"teacher": teacher.weights_sha}
    assert teacher.weights_sha == sha256_file(weights(spec.teacher))
    assert report.weights_sha == sha256_file(weights(spec))
    assert report.parameters["total"] == sum(p.numel() for p in build_method(spec, load_data(spec)).parameters())
    kept = weights(spec).read_bytes()
    names = load_file(weights(spec))
    assert {name.split(".")[0] for name in names} == {"backbone", "image_head", "text", "text_head"}

    record = evaluate(spec)
    assert record.outcome.status == "ok"
    assert (record.weights_sha, record.used) == (report.weights_sha, report.used)
    train(spec)
    assert weights(spec).read_bytes() == kept  # a function of the seed
    alone = spec.model_copy(update={"teacher": None, "settings": spec.settings | {"teacher": ""}})
    assert train(alone).used == {}
    assert weights(alone).read_bytes() != kept


def test_the_loss_of_a_batch_has_the_teachers_scores_of_that_batch(project, taught, monkeypatch):
    spec = taught(epochs=1)
    train(spec.teacher)
    images, texts = encodings(spec.teacher)
    seen, loss = [], LWMCR.loss
    monkeypatch.setattr(LWMCR, "loss", lambda self, pairs: seen.append(pairs) or loss(self, pairs))
    train(spec)
    pairs = seen[0]
    torch.testing.assert_close(pairs.teacher, images[pairs.image_ids] @ texts[pairs.captions].t())


@pytest.mark.parametrize("status", ["skipped", "failed"])
def test_without_a_teacher_the_student_is_skipped_with_the_reason(status, project, taught):
    spec = taught()
    folder = Paths.checkpoint(spec.teacher.cell)
    write_json(folder / "train.json", TrainReport(outcome=Outcome(status=status, reason="no such weights")))
    with pytest.raises(Unsupported):
        Teacher(spec.teacher, "cpu")
    report = train(spec)
    reason = f"its teacher tiny/scenes-b/vse/0 is {status}: no such weights"
    assert report.outcome == Outcome(status="skipped", reason=reason)
    assert (report.weights_sha, report.used) == ("", {})
    assert evaluate(spec).outcome.reason == reason


@pytest.mark.parametrize("anew", [False, True])
def test_a_killed_student_continues_only_with_the_teacher_that_it_began_with(
    anew, project, taught, monkeypatch, capsys
):
    spec = taught()
    train(spec.teacher)
    with monkeypatch.context() as patch:
        patch.setattr("rsitr.stages.steps.SAVE_SECONDS", -1)
        patch.setattr(Trainer, "train_step", killed_at(2))
        with pytest.raises(KeyboardInterrupt):
            train(spec)
    if anew:
        train(spec.teacher.model_copy(update={"settings": spec.teacher.settings | {"learning_rate": 0.02}}))
    assert train(spec).outcome == Outcome()
    assert ("continuing at step 2" in capsys.readouterr().err) is not anew


def killed_at(step):
    real = Trainer.train_step

    def dies(self, batch, pictures):
        if self.step == step:
            raise KeyboardInterrupt
        return real(self, batch, pictures)

    return dies
