"""PIR-CLIP's image tower against open_clip's own modules and slow loops."""

from __future__ import annotations

import math
from typing import Any

import open_clip
import pytest
import torch

from rsitr.errors import ParamsError, WeightsMismatch
from rsitr.nn.clip_models import create_clip
from rsitr.nn.instructed_vit import InstructedViT, weigh
from rsitr.nn.seeds import seeded
from rsitr.records.pretraining import Instruction

SMALL = Instruction(layers=(1, 1, 1, 1), width=2)


def slow_ranks(belief: list[float]) -> list[int]:
    return [sum(other >= own for other in belief) for own in belief]


def slow_weigh(tokens: torch.Tensor, instruction: torch.Tensor, belief_form: str) -> torch.Tensor:
    """One image after the other, in float64."""
    out = torch.zeros(tokens.shape, dtype=torch.float64)
    for image, (rows, y) in enumerate(zip(tokens.double().tolist(), instruction.double().tolist(), strict=True)):
        logits = [sum(a * b for a, b in zip(row, y, strict=True)) for row in rows]
        total = sum(math.exp(logit) for logit in logits)
        belief = [math.exp(logit) / total for logit in logits]
        second = [1 / math.sqrt(rank) for rank in slow_ranks(belief)] if belief_form == "paper" else belief
        weighed = [[x * b + x * w for x in row] for row, b, w in zip(rows, belief, second, strict=True)]
        for channel in range(len(y)):
            length = math.sqrt(sum(row[channel] ** 2 for row in weighed))
            for token, row in enumerate(weighed):
                out[image, token, channel] = row[channel] / length
    return out


@pytest.mark.parametrize("form", ["paper", "released"])
def test_weights_of_tokens(form):
    with seeded(1):
        tokens, instruction = torch.randn(3, 7, 4), torch.randn(3, 4)
    expected = slow_weigh(tokens, instruction, form)
    torch.testing.assert_close(weigh(tokens, instruction, form).double(), expected, atol=1e-6, rtol=1e-5)


@pytest.fixture(scope="module")
def tower(tiny_clip: str) -> InstructedViT:
    with seeded(0):
        return create_clip(tiny_clip, instruction=SMALL).model.visual


@pytest.mark.parametrize("form", ["paper", "released"])
def test_forward_is_that_of_open_clips_modules(tower, form):
    with seeded(2):
        pixels = torch.rand(3, 3, 32, 32)
    tower.eval()
    tower.belief = form
    vit = tower.vit
    with torch.inference_mode():
        y = tower.to_token(tower.instruction(pixels))
        x = slow_weigh(vit._embeds(pixels), y, form).float()
        pooled, others = vit._pool(vit.transformer(torch.cat([y[:, None], x], 1)))
        assert others.shape == (3, 5, 64)  # class token and four patches
        torch.testing.assert_close(tower(pixels), pooled @ vit.proj, atol=1e-5, rtol=1e-5)


def test_layers_before_the_attention_pool_never_learn(tower):
    tower.train()
    tower.belief = "paper"
    before = {name: value.clone() for name, value in tower.named_buffers()}
    tower.zero_grad()
    tower(torch.rand(4, 3, 32, 32)).square().sum().backward()
    without = {name for name, parameter in tower.named_parameters() if parameter.grad is None}
    expected = {name for name, _ in tower.named_parameters() if name.startswith("instruction.")}
    assert without == {name for name in expected if not name.startswith("instruction.attnpool.")}
    assert len(without) > 20
    assert all(torch.equal(value, before[name]) for name, value in tower.named_buffers())


def test_size_is_the_published_one():
    """Table II prints 189 M parameters; CLIP's ViT-B/32 has 151 M."""
    with torch.device("meta"):
        plain = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"))
        instructed = InstructedViT(plain.visual, Instruction())
    count = sum(parameter.numel() for parameter in plain.parameters())
    assert round(count / 1e6) == 151
    own = sum(p.numel() for part in (instructed.instruction, instructed.to_token) for p in part.parameters())
    assert round((count + own) / 1e6) == 189


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [1, 1, 1, 1], "width": 4, "head_width": 4}, "only a ViT that pools its class token"),
        ({"pool_type": "avg"}, "only a ViT that pools its class token"),
        ({"image_size": 16}, "even number of pixels from 32, not of 16"),
    ],
)
def test_other_towers_cannot_be_instructed(change: dict[str, Any], message: str):
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16} | change
    text = {"context_length": 8, "vocab_size": 10, "width": 8, "heads": 1, "layers": 1}
    plain = open_clip.CLIP(8, vision, text)
    with pytest.raises(ParamsError, match=message):
        InstructedViT(plain.visual, SMALL)


class TestCreate:
    def test_unknown_model(self):
        with pytest.raises(ParamsError, match="unknown CLIP model 'ViT-Z': one of tiny-64, tiny-112, or"):
            create_clip("ViT-Z")

    def test_openai_weights_need_the_quick_activation(self):
        with pytest.raises(ParamsError, match="need the model RN50-quickgelu, not RN50"):
            create_clip("RN50", "openai")

    def test_own_models(self):
        built = create_clip("tiny-64", instruction=SMALL)
        assert built.pixels.size == 64
        assert built.tokenizer(["a red dot"]).shape == (1, 32)
        assert built.model.encode_image(torch.rand(2, 3, 64, 64)).shape == (2, 64)

    def test_weights_of_an_instruction(self, tiny_clip, tmp_path):
        source = create_clip(tiny_clip, instruction=SMALL).model.visual.instruction
        path = tmp_path / "scenes.pt"
        torch.save(source.state_dict() | {"fc.weight": torch.zeros(3, 16)}, path)
        loaded = create_clip(tiny_clip, "none", SMALL, str(path)).model.visual.instruction
        assert torch.equal(loaded.layer4[0].conv3.weight, source.layer4[0].conv3.weight)
        wider = SMALL.model_copy(update={"width": 4})
        with pytest.raises(WeightsMismatch, match="belongs to another architecture"):
            create_clip(tiny_clip, "none", wider, str(path))
