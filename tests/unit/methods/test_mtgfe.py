"""MTGFE as a whole: its tasks, its negatives, what a checkpoint holds, low precision, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rsitr.errors import ParamsError
from rsitr.methods import mtgfe as module
from rsitr.methods.base import Batch, Corpus
from rsitr.methods.configure import configure
from rsitr.methods.fusion_encoder import squares
from rsitr.methods.mtgfe import MTGFE
from rsitr.nn.seeds import seeded
from rsitr.stages.encode import encode_captions, score_all
from tests.helpers.batches import batch as make_batch

CAPTIONS = ["a red dot on white ground", "a green bar", "a dot on a red bar on white ground", "a dot"]
CORPUS = Corpus(CAPTIONS, np.array([0, 1, 2, 2]))
SMALL = {"image_backbone": "test_resnet", "image_weights": "none", "image_size": 32}
RANDOM = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 12}


@pytest.fixture
def build(tiny_bert):
    def built(variant: str = "", **config: Any) -> MTGFE:
        with seeded(0):
            return MTGFE.build(configure(MTGFE, variant, SMALL | {"text_weights": str(tiny_bert)} | config), CORPUS)

    return built


def batch_of(method: MTGFE, ids: Any = (0, 1, 2, 2), images: Tensor | None = None) -> Batch:
    count = len(ids)
    with seeded(1):
        pixels = torch.rand(count, 3, 32, 32) if images is None else images
    return make_batch(pixels, method.tokenize(CAPTIONS[:count]), torch.tensor(ids), torch.arange(count), epoch=0)


def loss_of(method: MTGFE, batch: Batch, seed: int = 0) -> float:
    with seeded(seed):
        return method.loss(batch).item()


class TestTasks:
    def test_they_are_added(self, build, monkeypatch) -> None:
        """Each task is replaced by a number of its own."""
        for variant, expected in {"": 111.0, "itm": 1.0, "itm-mlm": 11.0, "itm-mvjrc": 101.0}.items():
            method = build(variant)
            monkeypatch.setattr(method.matching, "loss", lambda *_: torch.tensor(1.0))
            for part, value in (("words", 10.0), ("view_heads", 100.0)):
                if hasattr(method, part):
                    monkeypatch.setattr(getattr(method, part), "loss", lambda *_, value=value: torch.tensor(value))
            assert method.loss(batch_of(method)).item() == expected

    def test_both_views_meet_the_same_caption(self, build) -> None:
        """Without dropout and with nothing left out, two views of tokens are one, and matching pairs come first."""
        method = build("itm-mvjrc", token_dropout=0.0).train()
        seen: list[Tensor] = []
        method.view_heads.loss = lambda *views: seen.extend(views) or torch.tensor(0.0)  # type: ignore[method-assign]
        for part in method.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        for layer in method.fusion.layers:
            layer.cross.dropped = 0.0  # type: ignore[union-attr]
        method.loss(batch_of(method, images=torch.rand(4, 5, method.backbone.width)))
        assert seen[0].shape == (4, method.shape.hidden_size)
        torch.testing.assert_close(seen[0], seen[1])

    def test_a_pair_is_fused_as_it_is_scored(self, build) -> None:
        method = build().eval()
        batch = batch_of(method)
        with torch.no_grad():
            pictures, texts = method.encode_images(batch.images), method.encode_texts(batch.tokens)
            pairs = module.Pairs(torch.tensor([0, 3, 1]), torch.tensor([2, 0, 1]), torch.tensor([0, 0, 1]))
            fused = method.fuse(texts, batch.tokens, method.fusion.memory(pictures), pairs)
            torch.testing.assert_close(method.matching(fused), method.score(pictures, texts)[pairs.images, pairs.texts])

    def test_masked_words_reach_the_image(self, build) -> None:
        method = build("itm-mlm").eval()
        batch = batch_of(method)
        losses = []
        for images in (batch.images, batch.images.flip(0) * 3):
            with seeded(0), torch.no_grad():
                losses.append(method.word_loss(batch.tokens, method.fusion.memory(method.encode_images(images))).item())
        assert losses[0] != losses[1]

    def test_balanced_words_pull_as_hard_as_matching(self, build, monkeypatch) -> None:
        """Two losses whose gradients at the last layer are known: of norm 2 and 10."""
        method = build("balanced", mvjrc=False).train()
        weight = next(method.fusion.layers[-1].parameters())
        rest = 0.0 * sum(part.sum() for part in method.fusion.layers[-1].parameters())
        first = weight.flatten()[0]
        monkeypatch.setattr(method.matching, "loss", lambda *_: 2 * first + rest)
        monkeypatch.setattr(method, "word_loss", lambda *_: 10 * first + 3.0 + rest)
        loss = method.loss(batch_of(method))
        value = first.item()
        assert loss.item() == pytest.approx(2 * value + (10 * value + 3) / 5, abs=1e-5)
        assert method.tasks["words"].item() == pytest.approx((10 * value + 3) / 5, abs=1e-5)
        loss.backward()
        assert weight.grad.flatten()[0].item() == pytest.approx(4.0)
        with torch.no_grad():
            assert method.loss(batch_of(method)).item() == pytest.approx(12 * value + 3, abs=1e-5)

    @pytest.mark.parametrize("variant", ["", "itm", "itm-mlm", "itm-mvjrc", "balanced"])
    def test_a_batch_of_one_image(self, build, variant) -> None:
        method = build(variant).train()
        for ids in ((2, 2, 2), (2,)):
            loss = method.loss(batch_of(method, ids, torch.rand(len(ids), 5, method.backbone.width)))
            loss.backward()
            assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)

    @pytest.mark.parametrize("images", ["pixels", "tokens"])
    def test_low_precision(self, build, images) -> None:
        method = build().train()
        given = torch.rand(4, 5, method.backbone.width).half() if images == "tokens" else None
        batch = batch_of(method, images=given)
        with torch.autocast("cpu", torch.bfloat16):
            found = loss_of(method, batch)
            with seeded(0):
                method.loss(batch).backward()
        assert found == pytest.approx(loss_of(method, batch), rel=0.05)
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


class TestText:
    def test_frozen_text_is_in_no_checkpoint(self, build) -> None:
        method = build(freeze_text=True).train()
        assert not [name for name in method.learned_state() if name.startswith("text.")]
        before = method.encode_texts(method.tokenize(CAPTIONS))
        method.loss(batch_of(method)).backward()
        assert method.encode_texts(method.tokenize(CAPTIONS)).equal(before)
        assert all(p.grad is None for p in method.reader.parameters())

    def test_padding_is_zero_and_nothing_else(self, build) -> None:
        method = build().eval()
        tokens = method.tokenize(CAPTIONS)
        assert method.encode_texts(tokens).any(2).equal(tokens != 0)

    def test_a_caption_longer_than_the_table_of_positions(self, build) -> None:
        """The table has 24 places, two of them for [CLS] and [SEP]."""
        method = build(max_words=600).eval()
        long, cut = (method.tokenize(["dot " * count]) for count in (600, 22))
        assert long.shape == (1, 24)
        assert long.equal(cut)
        assert torch.isfinite(method.encode_texts(long)).all()

    def test_unseen_words_are_one_unknown_token(self, build) -> None:
        method = build(text_weights="none", text_options=RANDOM)
        assert method.tokenize(["a zebra"]).equal(method.tokenize(["a giraffe"]))
        assert method.tokenize(["zebra"]).tolist() == [[2, 1, 3]]
        with torch.no_grad():
            assert torch.isfinite(method.eval().encode_texts(method.tokenize(["zebra", ""]))).all()

    def test_halves_of_a_random_bert(self, build) -> None:
        method = build(text_weights="none", text_options=RANDOM, text_layers=2)
        assert len(method.reader.model.encoder.layer) == 2
        assert len(method.fusion.layers) == 1
        with pytest.raises(ParamsError, match="text_layers 3 of 3"):
            build(text_weights="none", text_options=RANDOM, text_layers=3)


class TestScore:
    def test_in_blocks(self, build, monkeypatch) -> None:
        method = build().eval()
        texts, _ = encode_captions(method, CAPTIONS, "cpu")
        with torch.inference_mode():
            images = method.encode_images(torch.rand(5, 3, 32, 32))
            whole = method.score(images, texts)
            monkeypatch.setattr("rsitr.stages.encode.PAIR_NUMBERS", 2 * method.pair_numbers(1, 10, 16))
            torch.testing.assert_close(score_all(method, images, texts, "cpu"), whole)

    def test_a_backbone_of_another_width_is_projected(self, build, tiny_bert) -> None:
        from transformers import BertConfig

        assert isinstance(build().image_head, torch.nn.Sequential)
        assert BertConfig.from_pretrained(tiny_bert).hidden_size == 16
        options = RANDOM | {"hidden_size": 192, "num_attention_heads": 3}
        same = build(text_weights="none", text_options=options, image_backbone="vit_tiny_patch16_224")
        assert isinstance(same.image_head, torch.nn.Identity)


class TestWordAttention:
    def test_weights_of_words_over_the_image(self, build) -> None:
        method = build().eval()
        tokens = method.tokenize(CAPTIONS[:2])
        with torch.no_grad():
            found = method.word_attention(torch.rand(2, 9, method.backbone.width), tokens)
        assert found.shape == (2, tokens.shape[1], 3, 3)
        torch.testing.assert_close(found.sum((2, 3)), (tokens != 0).float())

    def test_a_class_token_is_left_out(self) -> None:
        weights = torch.tensor([[[0.6, 0.1, 0.1, 0.2, 0.0]]])
        torch.testing.assert_close(squares(weights), torch.tensor([[[[0.25, 0.25], [0.5, 0.0]]]]))
        assert squares(torch.zeros(1, 1, 4)).equal(torch.zeros(1, 1, 2, 2))


def test_the_word_head_begins_as_that_of_the_bert_where_its_weights_have_one(build, tiny_bert, tmp_path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    with seeded(2):
        bert = BertForMaskedLM(BertConfig.from_pretrained(tiny_bert)).eval()
        torch.nn.init.normal_(bert.cls.predictions.bias)
        torch.nn.init.normal_(bert.cls.predictions.transform.LayerNorm.bias)
        fused = torch.randn(3, 16)
    bert.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    method, own = build(text_weights=str(tmp_path)), build()
    words = torch.tensor([5, 6, 7])
    vectors = method.reader.model.embeddings.word_embeddings.weight
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(bert.cls(fused), words)
        torch.testing.assert_close(method.words.loss(fused, words, vectors), expected)
        assert not own.words.bias.any()  # without a head in the file it begins with numbers of its own


def test_departures(build) -> None:
    assert MTGFE.published[""].table == "table2"
    cast, clipped, gpu, head, weighted = build("balanced").departures
    assert build().departures == [cast, clipped, gpu, head]
    assert build("itm").departures == [cast, clipped, gpu]
    assert build("itm", clip_norm=None, autocast=False).departures == [gpu]
    assert "Eq. 8" in weighted
    assert {published.variant for published in MTGFE.published.values()} == {"", "ITM", "ITM+MLM", "ITM+MVJRC"}


def test_views_of_tokens_say_so_and_take_one_pass_of_the_backbone(build, monkeypatch) -> None:
    said = "views by dropout of the backbone's tokens instead of RandAugment"
    assert said not in build().departures
    assert set(build(freeze_backbone=True).departures) - set(build().departures) == {said}
    passes = []
    for views in ("pixels", "tokens"):
        method = build(views=views).train()
        forward, seen = method.backbone.forward, []
        monkeypatch.setattr(method.backbone, "forward", lambda x, f=forward, s=seen: (s.append(x.shape), f(x))[1])
        method.loss(batch_of(method)).backward()
        passes.append(len(seen))
    assert passes == [2, 1]
    assert said in method.departures
