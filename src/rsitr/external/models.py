"""Dual encoders as people have them, behind one interface.

- The folder of a checkpoint of ours (``rsitr.stages.bundle``).
- ``open_clip:ARCHITECTURE`` with weights: a file, a tag of open_clip, or a name of ``nn/checkpoints.csv``.
- ``hf-hub:OWNER/NAME``: a repository of the Hugging Face hub with a model of open_clip.
- A folder that transformers or sentence-transformers has saved, of a model with both encoders, such as CLIP or SigLIP.

Images and texts are prepared as the model's own configuration says.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import open_clip
import torch
from torch import Tensor

from rsitr.datasets.images import as_shown
from rsitr.errors import ParamsError, WeightsMismatch
from rsitr.nn import checkpoints
from rsitr.nn.clip_models import HUB_FILES, build_clip
from rsitr.nn.pretrained import noted
from rsitr.nn.seeds import seeded
from rsitr.nn.weights import of_hub, require_hub
from rsitr.params.ids import JOINT, PRETRAINING, SCENES
from rsitr.records.artefact import Pretrained
from rsitr.records.bundle import FILE as BUNDLE
from rsitr.records.provenance import sha256_file
from rsitr.stages.bundle import WEIGHTS, BundledModel, Picture, load_bundle

OPEN_CLIP, HUB = "open_clip:", "hf-hub:"
FORMS = (
    "the folder of a checkpoint of rsitr (with bundle.json), open_clip:ARCHITECTURE with --weights, "
    "hf-hub:OWNER/NAME of a model of open_clip, or a folder saved by transformers (config.json) or "
    "sentence-transformers (modules.json)"
)
STARTS = (f"{SCENES}://", f"{PRETRAINING}://")
"""How weights are addressed that were trained here."""
SHIPPED = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")
"""Files of a saved model that its encodings depend on."""
CLIP_MODULE = "sentence_transformers.models.CLIPModel"
DOT_PRODUCT = SimpleNamespace(interacts=False)
"""Scores encodings as ``Method`` does where it does not interact."""


class ModelFacts(NamedTuple):
    """What a record says about a model."""

    kind: str
    """``rsitr``, ``transformers``, ``sentence-transformers``, or of open_clip the address with the architecture."""
    weights: Pretrained
    """Where they came from, and the SHA-256 of each file."""
    parameters: int
    saw: tuple[str, ...] | None
    """The datasets of ours whose training images it is known to have seen, and the addresses of priors and pretrainings
    that it began with; None where nothing is known."""


class Encoder(ABC):
    """A model of two encoders, on its device and in eval mode."""

    facts: ModelFacts
    scorer: Any = DOT_PRODUCT
    """What scores encodings: a method of ours (``rsitr.methods.base.Method``) where they interact."""

    @abstractmethod
    def encode_images(self, pictures: Sequence[Picture]) -> Tensor:
        """Encodings [B, D] of image files or pictures; raises ``CorruptArchive`` for a file that is no image."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encodings [B, D] of texts. Both kinds are float32 on the CPU."""


class OwnModel(Encoder):
    """A bundle of this benchmark. Fragments [B, N, D] of a method that interacts are scored by the method."""

    def __init__(self, folder: Path, device: str):
        self.model: BundledModel = load_bundle(folder, device)
        method, bundle = self.model.method, self.model.bundle
        if method.interacts:
            self.scorer = method
        weights = Pretrained(location=folder.name, files={WEIGHTS: bundle.weights_sha})
        saw = JOINT.get(bundle.spec.split_protocol, (bundle.spec.dataset,))
        # A prior or a pretraining has learned from more, of which a bundle knows the name.
        began = (each.location for each in bundle.pretrained.values() if each.location.startswith(STARTS))
        self.facts = ModelFacts("rsitr", weights, _parameters(method), (*saw, *began))

    def encode_images(self, pictures: Sequence[Picture]) -> Tensor:
        """As the evaluation of its cell does."""
        return torch.from_numpy(self.model.encode_images(pictures))

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """As the evaluation of its cell does."""
        return torch.from_numpy(self.model.encode_texts(texts))


class OpenClipModel(Encoder):
    """A model of open_clip with its own preprocessing."""

    def __init__(self, model: Any, tokenizer: Any, facts: ModelFacts, device: str):
        self.model, self.tokenizer, self.facts, self.device = model.to(device).eval(), tokenizer, facts, device
        wanted = open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
        self.transform = open_clip.transform.image_transform_v2(wanted, is_train=False)

    @torch.inference_mode()
    def encode_images(self, pictures: Sequence[Picture]) -> Tensor:
        """Embeddings [B, D]."""
        pixels = torch.stack([self.transform(picture) for picture in map(as_shown, pictures)])
        return self.model.encode_image(pixels.to(self.device)).float().cpu()

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings [B, D]."""
        return self.model.encode_text(self.tokenizer(list(texts)).to(self.device)).float().cpu()


class TransformersModel(Encoder):
    """A model of transformers that has ``get_image_features`` and ``get_text_features``."""

    def __init__(self, folder: Path, kind: str, device: str):
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        kept: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            model = AutoModel.from_pretrained(folder, **kept)
            self.images = AutoImageProcessor.from_pretrained(folder, **kept)
            self.tokenizer = AutoTokenizer.from_pretrained(folder, **kept)
        except (OSError, ValueError, KeyError, ImportError) as error:
            what = str(error).splitlines()[0]
            raise WeightsMismatch(
                f"transformers cannot load {folder} ({what}): save model, image processor and tokenizer into it with "
                "save_pretrained"
            ) from None
        if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
            raise WeightsMismatch(
                f"{folder} holds {type(model).__name__}, which does not encode both images and texts: name a CLIP, a "
                "SigLIP or another model of two encoders"
            )
        self.model, self.device = model.to(device).eval(), device
        text = getattr(model.config, "text_config", model.config)
        self.longest = getattr(text, "max_position_embeddings", None) or self.tokenizer.model_max_length
        # SigLIP has learned from texts padded to full length, and says so nowhere in its files.
        self.padding = "max_length" if model.config.model_type.startswith("siglip") else True
        self.facts = ModelFacts(kind, Pretrained(location=folder.name, files=_hashes(folder)), _parameters(model), None)

    @torch.inference_mode()
    def encode_images(self, pictures: Sequence[Picture]) -> Tensor:
        """Embeddings [B, D]."""
        inputs = self.images(images=[*map(as_shown, pictures)], return_tensors="pt").to(self.device)
        return _pooled(self.model.get_image_features(**inputs))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings [B, D]."""
        inputs = self.tokenizer(
            list(texts), padding=self.padding, truncation=True, max_length=self.longest, return_tensors="pt"
        )
        return _pooled(self.model.get_text_features(**inputs.to(self.device)))


def _pooled(found: Any) -> Tensor:
    """The embeddings, which some versions of transformers return within an output."""
    return getattr(found, "pooler_output", found).float().cpu()


def _parameters(model: torch.nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted({path for pattern in SHIPPED for path in folder.glob(pattern)})
    return {path.name: sha256_file(path) for path in files}


def open_model(address: str, weights: str | None = None, device: str = "cpu") -> Encoder:
    """The model at an address, one of ``FORMS``; ``weights`` are for ``open_clip:`` alone.

    Raises ``ParamsError`` for what names no model, and what loading a wrong, unsafe or missing file raises.
    """
    if weights and not address.startswith(OPEN_CLIP):
        raise ParamsError(f"--weights belongs to open_clip:ARCHITECTURE, and {address} has its own")
    if address.startswith(OPEN_CLIP):
        return _of_open_clip(address.removeprefix(OPEN_CLIP), weights, device)
    if address.startswith(HUB):
        return _of_hub(address.removeprefix(HUB), device)
    folder = Path(address).expanduser()
    if (folder / BUNDLE).is_file():
        return OwnModel(folder, device)
    if (folder / "modules.json").is_file():
        return TransformersModel(_clip_module(folder), "sentence-transformers", device)
    if (folder / "config.json").is_file():
        return TransformersModel(folder, "transformers", device)
    raise ParamsError(f"{address} names no model: give {FORMS}")


def _of_open_clip(name: str, weights: str | None, device: str) -> Encoder:
    if not weights:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ParamsError(f"open_clip:{name} needs --weights: a file, or a tag of open_clip (it lists {tags})")
    with noted() as found, seeded(0):  # what has no weights is random, and the same in every run
        built = build_clip(name, weights)
    known = checkpoints.find(name, weights)
    began = found.get("weights", Pretrained(location="none", files={}))
    facts = ModelFacts(f"{OPEN_CLIP}{name}", began, _parameters(built.model), known.saw if known else None)
    return OpenClipModel(built.model, built.tokenizer, facts, device)


def _of_hub(repository: str, device: str) -> Encoder:
    require_hub(repository, HUB_FILES)
    address = f"{HUB}{repository}"
    try:
        model = open_clip.create_model_from_pretrained(address, return_transform=False)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        what = str(error).splitlines()[0]
        raise WeightsMismatch(
            f"open_clip cannot load {address} ({what}): name a repository of one of its models"
        ) from None
    location, files = of_hub(repository, HUB_FILES)
    weights = Pretrained(location=location, files={path.name: sha256_file(path) for path in files})
    facts = ModelFacts(address, weights, _parameters(model), None)
    return OpenClipModel(model, open_clip.get_tokenizer(address), facts, device)


def _clip_module(folder: Path) -> Path:
    """Where the model of both encoders is in a folder of sentence-transformers."""
    try:
        modules = [*_modules(folder)]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsMismatch(f"{folder / 'modules.json'} cannot be read ({error}): save the model again") from None
    if [kind for kind, _ in modules] != [CLIP_MODULE]:
        found = ", ".join(kind.rpartition(".")[2] for kind, _ in modules)
        raise WeightsMismatch(
            f"{folder} encodes no images: its modules are {found}, and a model of two encoders has {CLIP_MODULE} alone"
        )
    return folder / modules[0][1]


def _modules(folder: Path) -> Iterator[tuple[str, str]]:
    for module in json.loads((folder / "modules.json").read_text(encoding="utf-8")):
        yield str(module["type"]), str(module["path"])
