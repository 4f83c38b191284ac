"""The CLIP family in training: what learns, from where, and how far an adapter's model is from CLIP at the start."""

from __future__ import annotations

import math
from unittest.mock import Mock

import numpy as np
import pytest
import requests
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from rsitr.captions.evaluation import as_evaluated
from rsitr.errors import ParamsError
from rsitr.methods import get_method
from rsitr.methods.base import Batch, Corpus, Method
from rsitr.methods.clip import CLIP, CLIPConfig
from rsitr.methods.configure import configure
from rsitr.methods.pe_rsitr import Adapter, insert_adapters
from rsitr.nn.seeds import seeded
from rsitr.records.cell import Spec
from rsitr.records.paths import Paths
from rsitr.retrieval.rank_files import metrics_of, read_ranks
from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import duplicates_of
from rsitr.stages.evaluate import evaluate
from rsitr.stages.optimizer import make_optimizer
from rsitr.stages.train import train
from tests.helpers.batches import batch as make_batch

CAPTIONS = ["a red dot on white ground", "a green bar", "two trees", "a red dot"]
CORPUS = Corpus(CAPTIONS, np.array([0, 1, 2, 2]))


def build(name: str, model: str, **settings: object) -> Method:
    cls = get_method(name)
    with seeded(0):
        return cls.build(configure(cls, "", {"model": model, "weights": "none", **settings}), CORPUS)


def batch_of(method: Method, seed: int = 0) -> Batch:
    pixels = torch.rand(4, 3, method.pixels.size, method.pixels.size, generator=torch.Generator().manual_seed(seed))
    ids = torch.from_numpy(CORPUS.image_of)
    return make_batch(pixels, method.tokenize(CAPTIONS), ids, torch.arange(4), epoch=0)


class TestProtocols:
    """Captions as each paper gives them to the tokenizer."""

    @pytest.mark.parametrize(
        ("protocol", "expected"),
        [
            ("georsclip", "many Planes are near LAX ."),
            ("remoteclip", "Many planes are near lax ."),
            ("skyscript", "a satellite image. many Planes are near LAX ."),
        ],
    )
    def test_exact_strings(self, protocol, expected) -> None:
        assert as_evaluated("many Planes are near LAX .", protocol) == expected

    def test_each_method_has_the_protocol_of_its_published_row(self) -> None:
        assert get_method("remoteclip").Config().protocol == "remoteclip"
        assert get_method("georsclip").Config().protocol == "georsclip"
        assert get_method("skyclip").Config().protocol == "georsclip"  # PIR's authors tested it themselves
        assert get_method("skyclip").variants["skyscript"] == {"protocol": "skyscript"}

    @pytest.mark.parametrize("seed", range(5))
    def test_merged_captions_bound_the_duplicate_aware_ranks_of_captions(self, seed) -> None:
        """What ``rsitr.captions.evaluation`` says of SkyScript's protocol, from image to text."""
        random = np.random.default_rng(seed)
        sentences = random.integers(0, 12, 40)
        image_of = np.repeat(np.arange(8), 5)
        unique = random.normal(size=(12, 6)).astype(np.float32)
        unique /= np.linalg.norm(unique, axis=1, keepdims=True)
        images = random.normal(size=(8, 6)).astype(np.float32)
        images /= np.linalg.norm(images, axis=1, keepdims=True)
        same = duplicates_of([f"sentence {number}" for number in sentences], list("abcdefgh"))
        ours = rank_embeddings(images, unique[sentences], image_of, duplicates=same).duplicate_aware.i2t
        merged, present = [], set(sentences)
        for image in range(8):
            own = {sentences[caption] for caption in range(40) if image_of[caption] == image}
            best = max(float(images[image] @ unique[sentence]) for sentence in own)
            above = [one for one in present - own if float(images[image] @ unique[one]) >= best]
            merged.append(1 + len(above))
        assert (np.asarray(merged) <= ours).all()
        assert (np.asarray(merged) < ours).any()


class TestFineTuning:
    """All weights learn, and the temperature with them."""

    def test_it_begins_as_the_pretrained_model(self, tiny_clip) -> None:
        method = build("clip-ft", tiny_clip).eval()
        with seeded(0):
            zero_shot = CLIP(CLIPConfig(model=tiny_clip, weights="none")).eval()
        batch = batch_of(method)
        with torch.inference_mode():
            assert torch.equal(method.encode_images(batch.images), zero_shot.encode_images(batch.images))
            assert torch.equal(method.encode_texts(batch.tokens), zero_shot.encode_texts(batch.tokens))
        assert math.isclose(method.log_temperature.exp().item(), 0.07, rel_tol=1e-6)  # of open_clip's random weights

    def test_loss_by_hand(self, tiny_clip) -> None:
        method = build("clip-ft", tiny_clip).eval()
        batch = batch_of(method)
        with torch.inference_mode():
            loss = method.loss(batch).item()
            images, texts = method.encode_images(batch.images).double(), method.encode_texts(batch.tokens).double()
        total = 0.0
        for one, other in ((images, texts), (texts, images)):
            for row in range(4):
                logits = [float(one[row] @ other[column]) / 0.07 for column in range(4)]
                norm = math.log(sum(math.exp(logit) for logit in logits))
                same = [column for column in range(4) if CORPUS.image_of[column] == CORPUS.image_of[row]]
                total += sum(norm - logits[column] for column in same) / len(same)
        assert math.isclose(loss, total / 8, rel_tol=1e-4)

    def test_the_temperature_stops_at_a_hundredth(self, tiny_clip) -> None:
        method = build("clip-ft", tiny_clip)
        with torch.no_grad():
            method.log_temperature.fill_(-7)
        method.loss(batch_of(method))
        assert math.isclose(method.log_temperature.exp().item(), 0.01, rel_tol=1e-6)

    def test_every_weight_learns(self, tiny_clip) -> None:
        method = build("clip-ft", tiny_clip)
        optimizer = make_optimizer(method, method.config, method.config.course[0])
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(method.parameters()))
        assert isinstance(optimizer, torch.optim.AdamW)

    def test_a_frozen_image_tower_is_one_embedding_and_in_no_checkpoint(self, tiny_clip) -> None:
        method = build("clip-ft", tiny_clip, freeze_backbone=True)
        assert method.backbone(torch.rand(2, 3, 32, 32)).shape == (2, 1, 16)
        assert {name.split(".")[0] for name in method.learned_state()} == {"text", "log_temperature"}

    @pytest.mark.parametrize("name", ["clip-ft", "georsclip-ft"])
    def test_a_step_lowers_the_loss(self, name, tiny_clip) -> None:
        method = build(name, tiny_clip, learning_rate=1e-4)
        optimizer = make_optimizer(method, method.config, method.config.course[0])
        before = method.loss(batch_of(method))
        before.backward()
        optimizer.step()
        assert method.loss(batch_of(method)) < before


class TestAdapter:
    """One adapter on its own."""

    def test_by_hand(self) -> None:
        adapter = Adapter((3, 4), bottleneck=2, shared=1, dropout=0.0)
        for number, parameter in enumerate(adapter.parameters()):
            nn.init.constant_(parameter, 0.1 * (number + 1))
        down, up, shared = adapter.down[1], adapter.up[1], adapter.shared
        state = torch.tensor([1.0, -2.0, 3.0, 0.5])
        inner = [
            max(0.0, sum(w * x for w, x in zip(row, state.tolist(), strict=True)) + b)
            for row, b in zip(down.weight.tolist(), down.bias.tolist(), strict=True)
        ]
        expected = [
            sum(w * x for w, x in zip(row, inner, strict=True)) + b
            for layer in (up, shared)
            for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        ]
        torch.testing.assert_close(adapter(state, 1), torch.tensor(expected))
        assert adapter(torch.zeros(5, 2, 3), 0).shape == (5, 2, 3)

    def test_both_towers_share_the_last_numbers(self) -> None:
        adapter = Adapter((6, 8), bottleneck=3, shared=2, dropout=0.5).eval()
        nn.init.ones_(adapter.shared.bias)
        for tower, width in enumerate((6, 8)):
            added = adapter(torch.randn(width), tower)
            assert added.tolist() == [0.0] * (width - 2) + [1.0] * 2


class TestPERSITR:
    """Adapters inside a CLIP that does not change."""

    @pytest.mark.parametrize("form", ["paper", "released"])
    def test_it_begins_as_clip(self, form, tiny_clip) -> None:
        method = build("pe-rsitr", tiny_clip, form=form).train()  # its dropout has nothing to drop yet
        zero_shot = build("clip-ft", tiny_clip).train()
        batch = batch_of(method)
        assert torch.equal(method.encode_images(batch.images), zero_shot.encode_images(batch.images))
        assert torch.equal(method.encode_texts(batch.tokens), zero_shot.encode_texts(batch.tokens))

    @pytest.mark.parametrize(("form", "count"), [("paper", 3), ("released", 1)])
    def test_one_adapter_a_block_or_one_for_all(self, form, count) -> None:
        method = build("pe-rsitr", "tiny-64", form=form)  # 3 blocks for images, 2 for text
        assert len(method.adapters) == count
        assert method.adapters[0].shared.out_features == 32  # half the narrower tower

    def test_only_adapters_and_temperature_learn(self, tiny_clip) -> None:
        method = build("pe-rsitr", tiny_clip, learning_rate=1e-2)
        before = {name: value.clone() for name, value in method.state_dict().items()}
        optimizer = make_optimizer(method, method.config, method.config.course[0])
        for step in range(2):
            method.zero_grad()
            method.loss(batch_of(method, step)).backward()
            optimizer.step()
        changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
        learned = set(method.learned_state())
        assert changed == learned == {name for name in before if name.startswith(("adapters.", "log_temperature"))}
        learning = sum(p.numel() for p in method.parameters() if p.requires_grad)
        assert learning == sum(value.numel() for value in method.learned_state().values())

    def test_phases_learn_no_more(self, tiny_clip) -> None:
        phases = [{"epochs": 1, "learning_rate": 0.1}, {"epochs": 2, "learning_rate": 0.01, "learns": ["text."]}]
        course = build("pe-rsitr", tiny_clip, phases=phases).config.course
        assert [phase.epochs for phase in course] == [1, 2]
        assert all(phase.learns == ("adapters.", "log_temperature") for phase in course)

    def test_an_adapter_stands_beside_normalisation_and_mlp(self) -> None:
        method = build("pe-rsitr", "tiny-64").eval()
        nn.init.normal_(method.adapters[1].up[0].weight)
        block = method.backbone.visual.transformer.resblocks[1]
        states = torch.randn(2, 17, 128)
        with torch.no_grad():
            after = states + block.attention(block.ln_1(states))
            inner = block.mlp
            expected = after + inner.mlp(inner.norm(after)) + method.adapters[1](after, 0)
            torch.testing.assert_close(block(states), expected)
            assert not torch.allclose(expected, after + inner.mlp(inner.norm(after)))

    def test_the_number_of_weights_that_learn(self) -> None:
        """ViT-B/32: 768 and 512 wide, 12 blocks each."""
        adapter = Adapter((768, 512), bottleneck=64, shared=64, dropout=0.5)
        weights = (768 + 512 + 704 + 448 + 64) * 64
        biases = 64 + 64 + 704 + 448 + 64
        assert sum(parameter.numel() for parameter in adapter.parameters()) == weights + biases

    def test_no_transformer_no_adapter(self) -> None:
        with pytest.raises(ParamsError, match="two towers are transformers"):
            insert_adapters(nn.Linear(1, 1), nn.Linear(1, 1), bottleneck=1, shared=1, dropout=0, single=False)

    def test_clip_cannot_be_cached_beneath_the_adapters(self) -> None:
        with pytest.raises(ParamsError, match="freeze_backbone: Input should be False"):
            configure(get_method("pe-rsitr"), "", {"freeze_backbone": True})

    def test_the_record_says_what_is_not_rebuilt(self, tiny_clip) -> None:
        assert build("pe-rsitr", tiny_clip).departures == [
            "autocast to bfloat16 in training, on GPUs",
            "contrastive loss (PIR, Eq. 15) instead of HMMC, with inputs encoded once",
        ]


class TestCell:
    """As a cell of an experiment."""

    def spec(self, make_spec, method: str, **settings: object) -> Spec:
        return make_spec(method).model_copy(update={"settings": settings})

    def test_adapters_are_trained_kept_and_evaluated(self, project, make_spec, tiny_clip) -> None:
        spec = self.spec(make_spec, "pe-rsitr", model=tiny_clip, weights="none", epochs=2, learning_rate=0.01)
        report = train(spec)
        assert (report.outcome.status, report.outcome.reason) == ("ok", "")
        kept = load_file(Paths.checkpoint(spec.cell) / "model.safetensors")
        assert {name.split(".")[0] for name in kept} == {"adapters", "log_temperature"}
        assert report.parameters["trainable"] == sum(value.numel() for value in kept.values())
        assert report.parameters["trainable"] < report.parameters["total"] / 10
        record = evaluate(spec)
        assert record.outcome.status == "ok"
        assert 0 < metrics_of(read_ranks(Paths.cell(spec.cell) / "ranks.parquet").ranks)["mr"] <= 100
        assert record.deviations[1].startswith("contrastive loss")

    @pytest.mark.parametrize("method", ["remoteclip", "skyclip@vit-l-14", "georsclip", "georsclip-ft"])
    def test_without_its_weights_it_is_skipped_and_says_what_to_do(
        self, method, project, make_spec, monkeypatch
    ) -> None:
        monkeypatch.delenv("RSITR_MIRROR", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "empty")
        # SkyScript's server is not the hub.
        monkeypatch.setattr("requests.Session.get", Mock(side_effect=requests.ConnectionError("no network")))
        outcome = train(self.spec(make_spec, method)).outcome
        assert outcome.status == "skipped"
        assert "weights unavailable" in outcome.reason
        assert "Put a copy fetched by hand at cache/weights/" in outcome.reason


def test_the_kernels_of_the_two_activations():
    """The trap in numbers: how far x sigmoid(1.702 x) is from GELU."""
    grid = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    distance = (grid * (1.702 * grid).sigmoid() - F.gelu(grid)).abs()
    assert 0.0202 < distance.max() < 0.0204
