"""A checkpoint as a bundle: its folder alone makes a model that encodes images and texts and scores them.

No dataset, no clean table and no params.yaml is needed, only what ``ModelBundle.fixed`` names: pretrained parts that
training has left as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from rsitr.datasets.images import as_shown
from rsitr.errors import QueryError, RecordError, WeightsMismatch
from rsitr.methods import get_method
from rsitr.methods.base import Corpus, Method
from rsitr.nn.features import frozen_tokens
from rsitr.nn.pixels import PixelFormat, as_pixels
from rsitr.nn.pretrained import noted
from rsitr.nn.seeds import derive, seeded
from rsitr.records import bundle as bundles
from rsitr.records.artefact import Pretrained
from rsitr.records.bundle import Built, ModelBundle, Pixels, named, read_bundle
from rsitr.records.cell import Spec, TrainReport
from rsitr.records.provenance import sha256_file
from rsitr.stages.encode import IMAGE_BATCH, encode_captions, score_all, slices
from rsitr.stages.evaluate import load_checkpoint
from rsitr.stages.setup import configuration

WEIGHTS = "model.safetensors"
WITHOUT = {"word_vectors": ""}
"""What a setting says that names no weights, where that is not ``none``."""
Picture = Path | str | Image.Image


def describe(method: Method, spec: Spec, report: TrainReport) -> ModelBundle:
    """The bundle of a cell that was trained."""
    pixels = Pixels(**method.pixels._asdict()) if method.reads_pixels else None
    learned = {
        "built": _built(method, spec, report),
        "words": method.learned_words,
        "pixels": pixels,
        "fixed": tuple(name for name in method.fixed_weights if name in report.pretrained),
        "departures": tuple(method.departures),
    }
    return bundles.begun(spec, report).model_copy(update=learned)


def _built(method: Method, spec: Spec, report: TrainReport) -> Built:
    taught = spec.teacher if method.holds_teacher else None
    teacher = None
    if taught:
        config = configuration(taught).model_dump(mode="json")
        teacher = Built(method=taught.method, seed=taught.seed, config=named(config, report))
    config = named(method.config.model_dump(mode="json"), report)
    return Built(method=spec.method, seed=spec.seed, config=config, teacher=teacher)


class BundledModel:
    """A trained model. Images are files or pictures of Pillow, results are float32 arrays."""

    def __init__(self, method: Method, bundle: ModelBundle, device: str):
        self.method, self.bundle, self.device = method, bundle, device

    def encode_images(self, images: Sequence[Picture]) -> np.ndarray:
        """Encodings [I, D], or fragments [I, N, D], as the evaluation of the cell makes them."""
        return self._encode_images(images).numpy()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Encodings [T, D], or fragments [T, L, D]."""
        return self._encode_texts(texts).numpy()

    def score(self, images: Sequence[Picture], texts: Sequence[str]) -> np.ndarray:
        """Scores [I, T] of every image and text; higher is more similar."""
        return score_all(self.method, self._encode_images(images), self._encode_texts(texts), self.device).numpy()

    @torch.inference_mode()
    def _encode_images(self, images: Sequence[Picture]) -> Tensor:
        if not images:
            raise QueryError("there is no image to encode")
        batches = [[images[place] for place in batch] for batch in slices(len(images), IMAGE_BATCH)]
        return torch.cat([self.method.encode_images(self._seen(batch)).float().cpu() for batch in batches])

    def _seen(self, images: Sequence[Picture]) -> Tensor:
        """Images as the method reads them: pixels, tokens of a frozen backbone, or mere numbers."""
        if not self.method.reads_pixels:
            return torch.arange(len(images))
        pixels = torch.stack([as_pixels(as_shown(image), self.method.pixels) for image in images]).to(self.device)
        if not getattr(self.method.config, "freeze_backbone", False):
            return pixels
        return frozen_tokens(self.method.backbone, pixels)

    @torch.inference_mode()
    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        if not texts:
            raise QueryError("there is no text to encode")
        encoded, place = encode_captions(self.method, list(texts), self.device)
        return encoded[place]


def load_bundle(folder: Path | str, device: str = "cpu") -> BundledModel:
    """The model of a checkpoint's folder.

    Raises ``RecordError`` for a bundle that is missing, damaged, or of a training that failed; ``WeightsMismatch``
    where weights are not those that the bundle names; ``WeightsUnavailable`` where there are none; ``ParamsError`` for
    a method that is not installed.
    """
    folder = Path(folder)
    bundle = read_bundle(folder)
    weights = folder / WEIGHTS
    if not weights.is_file() or sha256_file(weights) != bundle.weights_sha:
        state = "differs from what its training wrote" if weights.is_file() else "is missing"
        raise WeightsMismatch(f"{weights} {state}: copy the whole folder of the checkpoint again")
    assert bundle.built is not None
    with noted() as found:
        method = _build(bundle.built, bundle, folder)
    _compare(found, bundle, folder)
    load_checkpoint(method, weights)
    return BundledModel(method.to(device).eval(), bundle, device)


def _build(built: Built, bundle: ModelBundle, folder: Path) -> Method:
    """A method and its initial weights, drawn as they were when it was trained."""
    cls = get_method(built.method.partition("@")[0])
    try:
        config = cls.Config.model_validate(_located(built.config, bundle, folder))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise RecordError(
            f"{folder}: {built.method} cannot be configured as it was trained ({wrong}): use the version of rsitr that "
            "trained it, or train the cell again"
        ) from None
    if bool(built.teacher) != cls.holds_teacher:
        raise RecordError(f"{folder}: {built.method} is built {'without' if built.teacher else 'with'} a teacher")
    teacher = _build(built.teacher, bundle, folder) if built.teacher else None
    nothing = Corpus([], np.zeros(0, dtype=np.int64), teacher=teacher, words=bundle.words)
    with seeded(derive(built.seed, "init")):
        method = cls.build(config, nothing)
    if bundle.pixels:
        method.pixels = PixelFormat(**bundle.pixels.model_dump())
    return method


def _located(config: Mapping[str, Any], bundle: ModelBundle, folder: Path) -> dict[str, Any]:
    """A configuration that names the weights of fixed parts where they are here, and none that training has changed."""
    changed = dict(config)
    for name, weights in bundle.pretrained.items():
        if name not in config:
            continue
        if name not in bundle.fixed:
            changed[name] = WITHOUT.get(name, "none")
        elif "://" not in weights.location:
            changed[name] = str(folder / weights.location)
    return changed


def _compare(found: Mapping[str, Pretrained], bundle: ModelBundle, folder: Path) -> None:
    """Raise ``WeightsMismatch`` unless the pretrained parts are those that the bundle names, by their hashes."""
    expected = {name: bundle.pretrained[name] for name in bundle.fixed}
    for name in sorted({*found, *expected}):
        ours, theirs = (each[name].files if name in each else {} for each in (found, expected))
        if wrong := [file for file in sorted({*ours, *theirs}) if ours.get(file) != theirs.get(file)]:
            where = (expected.get(name) or found[name]).location
            raise WeightsMismatch(
                f"{folder} was trained with other {name} than are here: {', '.join(wrong)} of {where} differs by its "
                "SHA-256. Get what bundle.json names: the version of the package in the lock file of the training, the "
                "named revision, or the same file"
            )
