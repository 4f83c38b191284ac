"""How probable a CLIP takes each of some captions for an image, and each of some images for a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from rsitr.errors import QueryError
from rsitr.methods import get_method
from rsitr.methods.base import Corpus, Method
from rsitr.methods.clip import CLIPEncoder, TrainedCLIP
from rsitr.nn.pixels import preprocess
from rsitr.nn.seeds import derive, seeded
from rsitr.records.cell import Spec
from rsitr.stages.model import Trained
from rsitr.stages.setup import configuration, prepare


class Probabilities(NamedTuple):
    """Of images and captions given, from 0 to 1."""

    of_captions: npt.NDArray[np.float64]
    """[I, C]: of each caption for an image; a row sums to 1."""
    of_images: npt.NDArray[np.float64]
    """[I, C]: of each image for a caption; a column sums to 1."""


class Asked(NamedTuple):
    """A CLIP that is ready to be asked."""

    method: CLIPEncoder
    device: str

    @property
    def architecture(self) -> str:
        """Its model as the study calls it: ``ViT-B-32``."""
        return self.method.config.model.removesuffix("-quickgelu")


def ready(spec: Spec, device: str | None = None) -> Asked:
    """The CLIP of a cell, on a device as ``Trained``. One that is not trained needs neither a checkpoint nor data.

    Raises ``QueryError`` for a method that is no CLIP, ``WeightsUnavailable``, and what ``Trained`` raises.
    """
    cls = get_method(spec.cell.method_name)
    if not issubclass(cls, CLIPEncoder):
        raise QueryError(f"{spec.method} gives no probabilities: choose a method of the CLIP family")
    if cls.trainable:
        trained = Trained(spec, device)
        method: Any = trained.method
        return Asked(method, trained.device)
    device = prepare(spec) if device is None else device
    with seeded(derive(spec.seed, "init")):  # as the cell was built: where there are no weights, they are drawn
        built: Any = cls.build(configuration(spec), Corpus([], np.empty(0, np.int64)))
    return Asked(built.to(device).eval(), device)


def sharpness(method: Method) -> float:
    """What cosines are multiplied by before the softmax: the reciprocal of the learned temperature."""
    if isinstance(method, TrainedCLIP):
        return float(torch.exp(-method.log_temperature.detach()))
    assert isinstance(method, CLIPEncoder)
    return float(method.text.logit_scale.detach().exp())


@torch.inference_mode()
def probabilities(asked: Asked, images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str]) -> Probabilities:
    """Of images [H, W, 3] of any sizes and captions, as CLIP defines them (A. Radford et al., 2021, section 3.1.2).

    Raises ``QueryError`` without an image, without a caption, or for a blank caption.
    """
    if not images or not captions:
        raise QueryError("probabilities need an image and a caption at least: give --image and --text")
    if blank := [caption for caption in captions if not any(map(str.isalnum, caption))]:
        raise QueryError(f"the caption {blank[0]!r} has no word: say what may be in the image")
    method, device = asked
    pixels = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] for image in images)
    encoded = [method.encode_images(preprocess(each, method.pixels).to(device)).float() for each in pixels]
    texts = method.encode_texts(method.tokenize(list(captions)).to(device)).float()
    logits = (sharpness(method) * torch.cat(encoded) @ texts.t()).double().cpu()
    return Probabilities(logits.softmax(1).numpy(), logits.softmax(0).numpy())
