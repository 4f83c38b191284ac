"""PIR-CLIP's second stage: the weights of the first, and what of them goes on learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from rsitr.errors import ParamsError, Unsupported, WeightsMismatch, WeightsUnavailable
from rsitr.methods.base import Corpus, Phase
from rsitr.methods.clip import CLIPFT
from rsitr.methods.configure import configure
from rsitr.methods.pir_clip import LEARNS, PIRCLIP, PIRCLIPConfig
from rsitr.nn.affiliation import affiliation_loss
from rsitr.nn.clip_models import create_clip
from rsitr.nn.seeds import seeded
from rsitr.records.pretraining import Instruction
from rsitr.stages.optimizer import make_optimizer
from tests.helpers.batches import batch as make_batch

SMALL = Instruction(layers=(1, 1, 1, 1), width=2)
CAPTIONS = ["a red dot", "two red dots", "a green bar"]
CORPUS = Corpus(CAPTIONS, np.arange(3), classes=("dots", "dots", "bars"))


def method(tiny_clip: str, **fields) -> PIRCLIP:
    settings = {"model": tiny_clip, "weights": "none", "instruction": SMALL, "instruction_weights": "none"}
    settings |= {"affiliation": 0.0, "batch_size": 3}
    with seeded(0):
        return PIRCLIP.build(PIRCLIPConfig(**(settings | fields)), CORPUS)


def test_it_goes_on_from_what_pretraining_wrote(tiny_clip, tmp_path):
    with seeded(1):
        first = create_clip(tiny_clip, instruction=SMALL).model.eval()
    save_file({name: value.contiguous() for name, value in first.state_dict().items()}, tmp_path / "model.safetensors")
    second = method(tiny_clip, weights=str(tmp_path / "model.safetensors")).eval()
    with seeded(2), torch.inference_mode():
        pixels = torch.rand(2, 3, 32, 32)
        tokens = second.tokenize(CAPTIONS)
        assert torch.equal(second.encode_images(pixels), F.normalize(first.encode_image(pixels), dim=1))
        assert torch.equal(second.encode_texts(tokens), F.normalize(first.encode_text(tokens), dim=1))
        assert second.log_temperature.exp().item() == pytest.approx(0.07)


def saved(tiny_clip, path, rename=str):
    """The first stage in a file, its tensors called as ``rename`` says."""
    state = create_clip(tiny_clip, instruction=SMALL).model.state_dict()
    save_file({rename(name): value.contiguous() for name, value in state.items()}, path)
    return str(path)


def test_without_the_first_stage_it_is_skipped(tiny_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        WeightsUnavailable, match="pretraining://paper/pir-clip was not trained here: run `rsitr pretrain p"
    ):
        method(tiny_clip, weights=PIRCLIPConfig().weights)


def test_a_first_stage_of_other_names_is_refused(tiny_clip, tmp_path):
    path = saved(tiny_clip, tmp_path / "other.safetensors", lambda name: name.replace("instruction", "instruct"))
    with pytest.raises(
        WeightsMismatch, match=r"other.safetensors belongs to another .* missing: visual.instruction.conv1"
    ):
        method(tiny_clip, weights=path)


def test_a_first_stage_that_is_cut_in_half_is_refused(tiny_clip, tmp_path):
    path = tmp_path / "half.safetensors"
    saved(tiny_clip, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsMismatch, match=r"half\.safetensors cannot be read as weights"):
        method(tiny_clip, weights=str(path))


def test_only_a_vision_transformer_can_be_instructed():
    with pytest.raises(ParamsError, match="only a ViT"):
        method("RN50")


def test_training_leaves_the_layers_before_the_attention_pool_alone(tiny_clip):
    built = method(tiny_clip, learning_rate=0.1, affiliation=1.0)
    optimizer = make_optimizer(built, built.config, built.config.course[0])
    before = {name: value.clone() for name, value in built.state_dict().items()}
    batch = make_batch(torch.rand(3, 3, 32, 32), built.tokenize(CAPTIONS), torch.arange(3), torch.arange(3), 0)
    built.train().loss(batch).backward()
    optimizer.step()
    changed = {name for name, value in built.state_dict().items() if not torch.equal(value, before[name])}
    fixed = {name for name in before if name.startswith("backbone.visual.instruction.") and "attnpool" not in name}
    assert fixed
    assert not changed & fixed
    assert {prefix for prefix in LEARNS if any(name.startswith(prefix) for name in changed)} == set(LEARNS)
    assert all(name.startswith(LEARNS) for name in changed)


def test_the_affiliation_loss_is_added_with_its_weight(tiny_clip):
    built = method(tiny_clip, affiliation=0.5).eval()
    batch = make_batch(torch.rand(3, 3, 32, 32), built.tokenize(CAPTIONS), torch.arange(3), torch.arange(3), 0)
    with torch.inference_mode():
        images, texts = built.encode_images(batch.images), built.encode_texts(batch.tokens)
        # The two dots share their centre.
        centre, other = images[:2].mean(0), texts[:2].mean(0)
        to_centre = images @ torch.stack([other, other, texts[2]]).t() / 0.07
        from_centre = torch.stack([centre, centre, images[2]]) @ texts.t() / 0.07
        own = torch.arange(3)
        affiliation = (F.cross_entropy(to_centre, own) + F.cross_entropy(from_centre, own)) / 2
        alone = built.loss(batch) - 0.5 * affiliation
        built.config = built.config.model_copy(update={"affiliation": 0.0})
        torch.testing.assert_close(alone, built.loss(batch))


def test_without_instruction_and_affiliation_it_is_fine_tuned_clip(tiny_clip):
    """Rows of PIR's Table III: +L_A is the CLIP-baseline with the affiliation loss, and nothing else."""
    small = {"model": tiny_clip, "weights": "none", "batch_size": 3}
    config = configure(PIRCLIP, "affiliation", small)
    with seeded(0):
        built = PIRCLIP.build(config, CORPUS).eval()
    with seeded(0):
        baseline = CLIPFT.build(CLIPFT.Config(**small), CORPUS).eval()
    assert [phase.learns for phase in config.course] == [()]
    added = {name for name in built.state_dict() if name not in baseline.state_dict()}
    assert added == {"log_centre_temperature"}
    batch = make_batch(torch.rand(3, 3, 32, 32), built.tokenize(CAPTIONS), torch.arange(3), torch.arange(3), 0)
    with torch.inference_mode():
        images, texts = built.encode_images(batch.images), built.encode_texts(batch.tokens)
        affiliation = affiliation_loss(images, texts, built.classes, torch.tensor(0.07))
        torch.testing.assert_close(built.loss(batch), baseline.loss(batch) + affiliation)


def test_a_dataset_without_classes_has_no_affiliation():
    config, corpus = (
        PIRCLIPConfig(model="tiny-64", weights="none", instruction=SMALL),
        CORPUS._replace(classes=("",) * 3),
    )
    with pytest.raises(Unsupported, match="no scene classes: set affiliation to 0"):
        PIRCLIP.build(config.model_copy(update={"instruction_weights": "none"}), corpus)


def test_phases_say_for_themselves_what_learns():
    phase = Phase(epochs=1, learning_rate=1.0, learns=("text.",))
    assert PIRCLIPConfig(phases=(phase,)).course == (phase,)
    assert [phase.epochs for phase in PIRCLIPConfig().course] == [10]


def test_scores_are_multiplied_by_100_at_most(tiny_clip):
    built = method(tiny_clip)
    with torch.no_grad():
        built.log_temperature.fill_(-20)
    batch = make_batch(torch.rand(3, 3, 32, 32), built.tokenize(CAPTIONS), torch.arange(3), torch.arange(3), 0)
    scores = built.encode_images(batch.images) @ built.encode_texts(batch.tokens).t() * 100
    own = torch.arange(3)
    expected = (F.cross_entropy(scores, own) + F.cross_entropy(scores.t(), own)) / 2
    torch.testing.assert_close(built.eval().loss(batch), expected)
    assert built.log_temperature.exp().item() == pytest.approx(0.01)
