"""What a method is. One file per method; ``@method("name")`` on its class registers it.

The decorator's argument is found in the source without importing it, so that the Snakefile knows all methods without
importing torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from rsitr.captions.queries import QueryMode
from rsitr.captions.words import Vocabulary
from rsitr.datasets.table import DatasetFacts
from rsitr.nn.pixels import PixelFormat
from rsitr.records.cell import Published


class MethodConfig(BaseModel):
    """Configuration of a method without training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: QueryMode = "sentence"
    """What a text query is: a caption, the keywords of an image, or both (AMFMN, section V-D)."""


Optimizer = Literal["adam", "adamw", "sgd"]
"""``sgd`` is stochastic gradient descent with Nesterov's momentum of .9."""
Schedule = Literal["step", "linear", "cosine", "plateau"]
"""``plateau`` is constant until val stops improving, then lower; the others anneal over a fixed number of epochs."""


class Phase(BaseModel):
    """A part of training with its own learning rate; the schedule restarts in each.

    The optimiser restarts too, unless it has the same kind and parameters as in the previous phase.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(gt=0)
    learns: tuple[str, ...] = ()
    """Name prefixes of the parameters that learn; empty for all."""
    from_best: bool = False
    """Start from the weights of the best epoch so far, not the last, and choose the best again from here on."""

    def __str__(self) -> str:
        parts = f" of {', '.join(self.learns)}" if self.learns else ""
        start, plural = " from the best weights" if self.from_best else "", "s" if self.epochs > 1 else ""
        return f"{self.epochs} epoch{plural}{parts} with {self.optimizer} at {self.learning_rate:g}{start}"


class TrainingConfig(MethodConfig):
    """What the training loop reads."""

    epochs: int = Field(30, ge=1)
    max_steps: int | None = Field(None, ge=1)
    """The most optimiser steps, instead of ``epochs``; an epoch that has begun is finished."""
    batch_size: int = Field(128, ge=2)
    samples: Literal["captions", "images"] = "captions"
    """An epoch passes over all captions, or over all images with one caption of each drawn at random."""
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(2e-4, gt=0)
    backbone_learning_rate: float | None = None
    """Of a pretrained image backbone; None for the rate of everything else."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam and AdamW."""
    weight_decay: float = Field(0.0, ge=0)
    decays: Literal["all", "matrices"] = "all"
    """What weight decay applies to: all parameters, or those of two or more dimensions: neither biases nor gains."""
    schedule: Schedule = "step"
    step_epochs: int = Field(15, ge=1)
    """``step``: multiply the rate by ``step_factor`` after every so many epochs."""
    step_factor: float = Field(0.1, gt=0)
    """Of ``step`` and ``plateau``."""
    patience: int = Field(3, ge=1)
    """``plateau``: val has stopped improving when so many epochs in a row were no better than the best before. Then
    the weights of that are restored and the rate is multiplied by ``step_factor``."""
    drops: int = Field(1, ge=0)
    """``plateau``: how often that happens; when val stops improving after that, training ends (as that of K. Musgrave
    et al., "A Metric Learning Reality Check", ECCV 2020, does at a constant rate: 0)."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of all steps during which the rate rises linearly from zero; with ``plateau``, of the most there may be."""
    warmup_steps: int | None = Field(None, ge=1)
    """The same as a number of steps, instead of the share; training that is no longer is all warm-up."""
    phases: tuple[Phase, ...] = ()
    """Instead of ``epochs``, ``optimizer`` and ``learning_rate``, where training changes along the way."""
    clip_norm: float | None = Field(2.0, gt=0)
    """The norm that the gradients of a step are scaled down to where theirs is larger; None leaves them as they are."""
    autocast: bool = True
    """Train on GPUs under autocast to bfloat16; False: in float32."""
    augment: Literal["none", "crop-flip", "randaugment", "rotate-crop"] = "crop-flip"
    """``crop-flip``: random resized crop (.5 to 1) and horizontal flip; ``randaugment`` adds RandAugment(2, 7);
    ``rotate-crop``: a rotation by 0 to 90 degrees and a crop of 92 % of the side (AMFMN, section V-B)."""
    positives: Literal["image", "caption"] = "image"
    """Which pairs of a batch are never negatives of each other, and match in contrastive targets: captions of the same
    image (``image``), or also pairs whose captions are identical or whose images are the same file (``caption``)."""
    freeze_backbone: bool = False
    """Keep the image backbone fixed and compute its tokens once; excludes augmentation."""
    selection: Literal["val", "test"] = "val"
    """Which split chooses the epoch. ``test`` exists only to show how much that inflates the numbers."""
    selection_images: int | None = Field(None, ge=2)
    """Choose the epoch on this many images of that split, spread evenly over it; None for all. For pair scores that are
    too expensive to compute for the whole split after every epoch."""
    choose: Literal["best", "last", "shortlists"] = "best"
    """``last`` keeps the weights of the last epoch whatever that split says, as where too few of its images are
    scored to tell epochs apart. ``shortlists``: the best epoch by two-stage retrieval, where pair scores of the whole
    split are too expensive, and the method has a cheap score besides."""

    @property
    def course(self) -> tuple[Phase, ...]:
        """The phases of training, one or more."""
        whole = Phase(epochs=self.epochs, optimizer=self.optimizer, learning_rate=self.learning_rate)
        return self.phases or (whole,)


class Corpus(NamedTuple):
    """What a method may learn from before training: the training queries, and the classes of their images.

    A trained method is built again from what it has learned of them (``words``), without any caption.
    """

    captions: list[str]
    """Queries, as ``rsitr.captions.queries`` composes them."""
    image_of: npt.NDArray[np.integer]
    """[captions]: the training image of each."""
    similarity: Path | None = None
    """Folder that may hold how similar they are (``rsitr.captions.similarity``)."""
    image_names: tuple[str, ...] = ()
    """File name of each training image."""
    classes: tuple[str, ...] = ()
    """Scene class of each training image, an empty string where the dataset states none."""
    teacher: Method | None = None
    """For a method that ``holds_teacher``: its teacher, as configured and not trained, to be made a part of it."""
    words: tuple[str, ...] = ()
    """Of a trained method: its ``learned_words``."""

    def vocabulary(self, min_count: int) -> Vocabulary:
        """The words that occur ``min_count`` times in the captions, or those that are known already."""
        return Vocabulary(self.words) if self.words else Vocabulary.of(self.captions, min_count)


class Batch(NamedTuple):
    """Matching pairs: sample i is an image with one of its captions."""

    images: Tensor
    """Pixels [B, 3, H, W], or tokens [B, N, C] of a frozen backbone."""
    tokens: Tensor
    """[B, L]"""
    image_ids: Tensor
    """[B]: place of each image in the training set; equal for samples of the same image."""
    captions: Tensor
    """[B]: place of each caption in the training set."""
    positives: Tensor
    """bool [B, B], symmetric: which samples are never negatives of each other (``TrainingConfig.positives``)."""
    epoch: int
    """0-based, for losses that change during training."""
    teacher: Tensor | None = None
    """[B, B]: scores that the configured teacher gives image i and caption j, where there is one."""


class Method(nn.Module, ABC):
    """A registered method. The docstring of each cites its paper, section and equations.

    A method encodes images and captions separately, each as one vector or as fragments (regions, words),
    and scores any image against any caption from these encodings: by their dot product, unless it has a ``score``.
    """

    name: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    """Named configurations: overlays on the defaults."""
    published: ClassVar[dict[str, Published]] = {}
    """Variant ('' is the default) -> the published row that it stands for. No two configurations claim the same row."""
    of_dataset: ClassVar[dict[str, dict[str, Any]]] = {}
    """What the authors set otherwise on a dataset: DATASET for all variants, DATASET@VARIANT for one."""
    trainable: ClassVar[bool] = True
    reads_pixels: ClassVar[bool] = True
    """A method that does not gets row numbers [B] instead of pixels."""
    holds_teacher: ClassVar[bool] = False
    """Whether the encoders of its teacher are a part of it, which does not learn."""
    scores_by: ClassVar[tuple[str, ...]] = ()
    """Names of the parts that take no part in encoding an image or a caption."""
    unit_length: ClassVar[bool] = True
    """Whether embeddings that are compared by their dot product have length one, so that it is a cosine."""

    tasks: Mapping[str, Tensor] = MappingProxyType({})
    """What ``total`` has summed last, by task, without gradient; empty for a method whose loss is not such a sum."""

    config: MethodConfig
    pixels: PixelFormat
    backbone: nn.Module
    """Turns pixels into tokens; the part that ``freeze_backbone`` freezes."""
    teacher: Method
    """Of a method that holds it."""

    @classmethod
    def supports(cls, facts: DatasetFacts) -> tuple[bool, str]:
        """Whether the method can run on a dataset, and if not, why."""
        return True, ""

    @classmethod
    @abstractmethod
    def build(cls, config: Any, corpus: Corpus) -> Self:
        """The method with its initial weights, drawn from torch's global generator, which the caller has seeded."""

    @abstractmethod
    def encode_images(self, images: Tensor) -> Tensor:
        """Embeddings [B, D], or fragments [B, N, D].

        ``images`` as in ``Batch``. Fragments that only pad a shorter sequence are zero.
        """

    @abstractmethod
    def tokenize(self, captions: list[str]) -> Tensor:
        """Token indices [B, ...], padded with 0; ``captions`` as in ``Corpus``."""

    @abstractmethod
    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, D] or fragments [B, L, D], as those of images."""

    def gallery(self, images: Tensor) -> Any:
        """Encoded images in the form that ``score`` handles fastest, for images that many queries are compared with.

        It has a length, and can be indexed by a slice or by positions.
        """
        return images

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Scores [I, C] of every image against every caption, from their encodings; higher is more similar.

        A method with its own score is called with blocks small enough for ``pair_numbers`` of each pair to fit into
        memory.
        """
        return images @ texts.t()

    @property
    def fixed(self) -> tuple[str, ...]:
        """How the names of parameters begin that never learn."""
        return ("backbone.",) if getattr(self.config, "freeze_backbone", False) else ()

    def adopt(self, teacher: Method) -> None:
        """Before training, take from the trained teacher what is a part of the method: nothing, in most."""

    def batch_scores(self, batch: Batch) -> Tensor:
        """Scores [B, B] of a batch: image i against caption j."""
        return self.score(self.encode_images(batch.images), self.encode_texts(batch.tokens))

    def pair_numbers(self, fragments: int, words: int, width: int) -> int:
        """How many numbers ``score`` holds at a time for a pair of N fragments and L words of width D.

        N L + (N + L) D where each side is changed for the other; a method that changes none states less, and gets
        larger blocks.
        """
        return fragments * words + (fragments + words) * width

    @property
    def interacts(self) -> bool:
        """Whether scoring is more than a dot product, so that no index of embeddings can answer a query."""
        return type(self).score is not Method.score

    def filter_images(self, images: Tensor) -> Tensor:
        """Unit vectors [I, D] of encoded images, for a method that can be its own filter in two-stage retrieval.

        Their dot products with ``filter_texts`` are the cheap score of its shortlists.
        """
        raise NotImplementedError(f"{self.name} has no cheap score besides its own")

    def filter_texts(self, texts: Tensor) -> Tensor:
        """Unit vectors [T, D] of encoded texts."""
        raise NotImplementedError(f"{self.name} has no cheap score besides its own")

    @classmethod
    def filters_itself(cls) -> bool:
        """Whether the method has a cheap score besides ``score``."""
        return cls.filter_images is not Method.filter_images

    def loss(self, batch: Batch) -> Tensor:
        """Scalar training loss."""
        raise NotImplementedError(f"{self.name} is not trained")

    def total(self, **tasks: Tensor) -> Tensor:
        """The sum of the losses of the tasks; the history of a training has the mean of each.

        A loss called ``contrastive`` is an InfoNCE over the batch: one that stays at the logarithm of its size raises
        an alarm (``rsitr.stages.alarms``).
        """
        self.tasks = {name: loss.detach() for name, loss in tasks.items()}
        first, *others = tasks.values()
        return sum(others, start=first)

    @property
    def departures(self) -> list[str]:
        """Every way in which this configuration is not the published method; every record repeats it.

        It is asked of a method that is not built, too (``rsitr.methods.configure.departures``), which has its
        ``config`` and nothing else.
        """
        config = self.config
        found = {
            "autocast to bfloat16 in training, on GPUs": isinstance(config, TrainingConfig) and config.autocast,
            "one query of keywords for each image; Table III of AMFMN fits five": config.query == "keywords",
            "frequent words of keywords are those of a tenth of the images; AMFMN sets no limit": config.query
            == "joint",
        }
        return those(found)

    @property
    def learned_words(self) -> tuple[str, ...]:
        """The vocabulary that it has taken from the training captions, if it has, in the order of its indices."""
        known = (getattr(part, "vocabulary", None) for part in self.modules())
        return next((tuple(each.index) for each in known if isinstance(each, Vocabulary)), ())

    @property
    def fixed_weights(self) -> tuple[str, ...]:
        """The settings that name pretrained weights which stay as they are, so that a checkpoint leaves them out.

        Those of a text encoder stand for its tokenizer, too, which no checkpoint has.
        """
        if self.holds_teacher:
            return self.teacher.fixed_weights
        frozen = getattr(self.config, "freeze_backbone", False)
        fixed = {"image_weights": frozen, "weights": frozen or not self.trainable, "text_weights": True}
        return tuple(name for name, stays in fixed.items() if stays and hasattr(self.config, name))

    @property
    def apart(self) -> dict[str, nn.Module]:
        """Parts that neither learn nor are in ``state_dict``, and that a checkpoint holds: nobody else has them."""
        return {f"teacher.{name}": part for name, part in self.teacher.apart.items()} if self.holds_teacher else {}

    def learned_state(self) -> dict[str, Tensor]:
        """The tensors a checkpoint holds: what training can change, without pretrained parts that stay fixed."""
        if not self.trainable:
            return {}
        own = {name: value for name, value in self.state_dict().items() if not name.startswith(self.fixed)}
        for part, module in self.apart.items():
            own |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
        return own

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """The reverse of ``learned_state``; raises ``RuntimeError`` unless the names are exactly the same."""
        if unknown := set(self.learned_state()) ^ set(state):
            raise RuntimeError(f"the checkpoint belongs to another model: {sorted(unknown)[:3]}")
        own = dict(state)
        for part, module in self.apart.items():
            module.load_state_dict({name: own.pop(f"{part}.{name}") for name in module.state_dict()})
        self.load_state_dict(self.state_dict() | own)


def those(found: Mapping[str, object]) -> list[str]:
    """The departures that hold, of all that a method may have."""
    return [departure for departure, holds in found.items() if holds]


M = TypeVar("M", bound=type[Method])
QUERY_VARIANTS: dict[str, dict[str, Any]] = {"keywords": {"query": "keywords"}, "joint": {"query": "joint"}}
"""Variants of every method."""


def method(name: str) -> Callable[[M], M]:
    """Register a class under ``name``."""

    def register(cls: M) -> M:
        cls.name = name
        cls.variants = QUERY_VARIANTS | cls.variants
        return cls

    return register


def token_images(images: Tensor, backbone: nn.Module) -> Tensor:
    """Tokens [B, N, C] of a batch that holds pixels or tokens already."""
    return images.float() if images.ndim == 3 else backbone(images)
