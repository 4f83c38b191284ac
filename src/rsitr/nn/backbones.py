"""Image backbones from timm behind one interface: pixels in, a sequence of tokens out."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from rsitr.errors import ParamsError, WeightsMismatch
from rsitr.nn.locations import resolve
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.pretrained import note
from rsitr.nn.state import load_state
from rsitr.nn.weights import of_hub, require_hub

HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")
MODIFIED_RESNET = "modified_resnet"
"""CLIP's ResNet, which timm does not know."""
LOADING = {"cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}
"""Arguments by which timm reads files and addresses: they are not for the options of a configuration, which may come
with somebody's bundle."""


class ImageBackbone(nn.Module):
    """Any timm image model without its classifier, or the ``modified_resnet`` of CLIP.

    ``weights`` is ``none`` (random), ``timm`` (the pretrained weights timm names, from the hub), or a location that
    ``rsitr.nn.locations.resolve`` understands; ``setting`` is what names it in a configuration.
    """

    def __init__(
        self,
        name: str,
        weights: str,
        size: int,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        options: dict[str, Any] | None = None,
        setting: str = "image_weights",
    ):
        super().__init__()
        if name != MODIFIED_RESNET and not timm.is_model(name):
            raise ParamsError(f"unknown image backbone {name!r}: {MODIFIED_RESNET}, or see timm.list_models()")
        # Convolutions are fast in channels last, on GPUs and on CPUs (a MobileNetV2 with 'same' padding: 3 to 6 times).
        self.model: Any = _create(name, weights, size, options or {}, setting).to(memory_format=torch.channels_last)
        facts = resolve_model_data_config(self.model)
        self.pixels = PixelFormat(size, mean or facts["mean"], std or facts["std"], facts["interpolation"])
        self.width = int(self.model.num_features)

    def forward(self, pixels: Tensor) -> Tensor:
        """Tokens [B, N, C] of pixels [B, 3, H, W]; a class token, where the model has one, is token 0."""
        features = self.model.forward_features(pixels.contiguous(memory_format=torch.channels_last))
        if features.ndim == 3:
            return features
        channels_last = features.shape[-1] == self.width
        return features.flatten(1, 2) if channels_last else features.flatten(2).transpose(1, 2)


def _create(name: str, weights: str, size: int, options: dict[str, Any], setting: str) -> Any:
    if refused := LOADING & options.keys():
        raise ParamsError(f"image_options cannot have {', '.join(sorted(refused))}: name weights with {setting}")
    default = timm.get_pretrained_cfg(name)
    # Models with position tables take the image size at construction; convolutional ones do not accept it.
    if default is not None and default.fixed_input_size:
        options = {"img_size": size} | options
    if weights == "timm":
        if default is None or not default.hf_hub_id:
            raise ParamsError(f"timm names no pretrained weights for {name}: give a file or `none`")
        require_hub(default.hf_hub_id, HUB_FILES)
        try:
            # With the classifier of the file: without it timm leaves what the file lacks at random, and only warns.
            whole: Any = timm.create_model(name, pretrained=True, **options)
        except RuntimeError as error:
            raise WeightsMismatch(
                f"the pretrained weights {default.hf_hub_id} do not fit {name}: {error}; name a file that does, or a "
                "backbone whose weights timm has"
            ) from None
        location, files = of_hub(default.hf_hub_id, HUB_FILES)
        note(setting, location, *files)
        whole.reset_classifier(0)
        return whole
    model: Any
    if name == MODIFIED_RESNET:
        from rsitr.nn.modified_resnet import ModifiedResNet  # with open_clip, which takes seconds

        model = ModifiedResNet(size, **options)
    else:
        model = timm.create_model(name, pretrained=False, num_classes=0, **options)
    if weights != "none":
        classifier, path = model.pretrained_cfg.get("classifier", ()), resolve(weights)
        load_state(model, path, ignore=(classifier,) if isinstance(classifier, str) else tuple(classifier))
        note(setting, weights, path)
    return model
