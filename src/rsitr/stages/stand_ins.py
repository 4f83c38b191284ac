"""Files that stand in for pretrained weights: the names and shapes of a published checkpoint, and made-up numbers.

They are put where the loading code looks for the real ones (the caches of Hugging Face and of torch, the folder of the
registry's checkpoints), so that it runs as it would after a download, and finds what does not fit. Names and shapes are
those of the model that the library builds under the checkpoint's own name, with its classifier or heads of
pretraining; the size of a checkpoint of the registry is compared with the published one.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import open_clip
import timm
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor, nn

from rsitr.errors import ParamsError, WeightsMismatch, WeightsUnavailable
from rsitr.nn import checkpoints, weights
from rsitr.nn.checkpoints import Checkpoint
from rsitr.records.files import replacing, write_text

BERT = "google-bert/bert-base-uncased"
REVISION = "0" * 40
TOLERANCE = 0.002
"""Share of its published size by which a stand-in may differ: file formats have headers of their own."""
TEMPERATURE = 2.6592
"""ln(1 / .07), at which CLIP's logit scale starts."""


def shapes(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """The tensors of a model by name, on torch's ``meta`` device: shapes without numbers, in no time."""
    with torch.device("meta"):
        return dict(build().state_dict())


def made_up(like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Numbers for tensors of these shapes that keep activations near one: 1 / sqrt(inputs) as standard deviation."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, tensor in like.items():
        if not tensor.is_floating_point():
            found[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif name.endswith("logit_scale"):
            found[name] = torch.tensor(TEMPERATURE)
        elif tensor.ndim < 2:
            scales = name.endswith(("weight", "gamma", "running_var"))
            found[name] = torch.full(tensor.shape, 1.0 if scales else 0.0)
        else:
            inputs = tensor.numel() / tensor.shape[0]
            found[name] = torch.randn(tensor.shape, generator=generator) / inputs**0.5
    return found


def clip_of(architecture: str) -> nn.Module:
    """A CLIP of open_clip with the layers that its checkpoint has."""
    return open_clip.CLIP(**open_clip.get_model_config(architecture))


@cache
def timm_models() -> dict[str, str]:
    """Repository of the hub -> the model of timm whose pretrained weights it holds."""
    facts = ((name, timm.get_pretrained_cfg(name)) for name in timm.list_pretrained())
    return {config.hf_hub_id: name for name, config in facts if config and config.hf_hub_id}


class StandIns:
    """Stand-ins below ``folder``, each written when it is asked for and kept."""

    def __init__(self, folder: Path, words: list[str]):
        """``words`` are those that the tokenizer of a stand-in BERT knows.

        Raises ``ParamsError`` where the hub's cache of this process is outside ``folder``.
        """
        self.words = words
        self.hub_cache = Path(constants.HF_HUB_CACHE)
        if not self.hub_cache.is_relative_to(folder):
            raise ParamsError(f"stand-ins must not get into {self.hub_cache}: set HF_HUB_CACHE to a folder in {folder}")

    def hub(self, repository: str) -> None:
        """A repository of the hub, as its cache keeps it; ``WeightsUnavailable`` for one that nobody can make up."""
        home = self.hub_cache / f"models--{repository.replace('/', '--')}"
        if (home / "refs" / "main").is_file():
            return
        snapshot = home / "snapshots" / REVISION
        tags = [known for known in checkpoints.checkpoints().values() if known.source.startswith(f"hf://{repository}@")]
        if tags:
            for known in tags:
                _save(made_up(shapes(partial(clip_of, known.architecture))), snapshot / known.file)
        elif repository == BERT:
            self._bert(snapshot)
        elif repository in timm_models():
            name = timm_models()[repository].partition(".")[0]
            _save(made_up(shapes(partial(timm.create_model, name))), snapshot / "model.safetensors")
        else:
            raise WeightsUnavailable(
                f"the rehearsal knows no names and shapes of {repository}: it can make up what timm names, the "
                f"checkpoints of the registry, and {BERT}"
            )
        write_text(home / "refs" / "main", REVISION)

    def _bert(self, snapshot: Path) -> None:
        """BERT-base with its heads of pretraining, under the names of its file, and a tokenizer of a few words."""
        from transformers import BertConfig, BertForPreTraining

        config = BertConfig(architectures=["BertForMaskedLM"])
        state = made_up(shapes(partial(BertForPreTraining, config)))
        state.pop("cls.predictions.decoder.weight")  # the word vectors again
        state.pop("cls.predictions.decoder.bias", None)
        layers = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, old in layers.items():
            state = {name.replace(new, old): value for name, value in state.items()}
        config.save_pretrained(snapshot)
        _save(state, snapshot / "model.safetensors")
        write_text(snapshot / "vocab.txt", "\n".join(word_pieces(self.words, config.vocab_size)) + "\n")
        write_text(snapshot / "tokenizer_config.json", json.dumps({"do_lower_case": True, "model_max_length": 512}))

    @staticmethod
    def checkpoint(known: Checkpoint, folder: Path) -> None:
        """The file of a checkpoint of the registry in ``folder``; raises ``WeightsMismatch`` for another size."""
        path = folder / known.file
        if path.is_file():
            return
        like = shapes(partial(clip_of, known.architecture))
        size = sum(tensor.nbytes for tensor in like.values())
        if known.bytes and abs(size / known.bytes - 1) > TOLERANCE:
            raise WeightsMismatch(
                f"{known.architecture} has {size} bytes of weights, the file of {known.name} {known.bytes}: the "
                "registry names another architecture"
            )
        state = made_up(like)
        with replacing(path) as file:
            if not known.member:
                torch.save(state, file)
                return
            # What is published as an archive is the state of a training on several GPUs.
            content = {"epoch": 0, "state_dict": {f"module.{name}": value for name, value in state.items()}}
            with zipfile.ZipFile(file, "w") as archive, archive.open(known.member, "w", force_zip64=True) as member:
                torch.save(content, member)

    @staticmethod
    def download(url: str, target: str, *rest: Any, **options: Any) -> None:
        """What torchvision's pretrained weights at ``url`` would be."""
        for name in torchvision.models.list_models(torchvision.models):
            if any(each.url == url for each in torchvision.models.get_model_weights(name)):
                torch.save(made_up(shapes(partial(torchvision.models.get_model, name))), target)
                return
        raise WeightsUnavailable(f"the rehearsal knows no names and shapes of {url}: no model of torchvision has it")


def word_pieces(words: list[str], size: int) -> list[str]:
    """A vocabulary of ``size`` in BERT's order, of which ``words`` and all letters are real."""
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    real = [*letters, *(f"##{letter}" for letter in letters), *".,-'", *(word for word in words if len(word) > 1)]
    first = [special.get(place, f"[unused{place}]") for place in range(999)]
    return [*first, *real, *(f"[unused{place}]" for place in range(999 + len(real), size))]


@contextmanager
def standing_in(found: StandIns) -> Iterator[None]:
    """Let the loading code find stand-ins where it looks for pretrained weights."""
    cached, fetch = weights.try_to_load_from_cache, checkpoints.fetch

    def look(repository: str, file: str, **options: Any) -> Any:
        found.hub(repository)
        return cached(repository, file, **options)

    def obtain(known: Checkpoint, folder: Path = checkpoints.CACHE) -> Path:
        found.checkpoint(known, folder)
        return fetch(known._replace(bytes=None, sha256=None), folder)

    with (
        patch.object(weights, "try_to_load_from_cache", look),
        patch.object(weights, "hub_reachable", lambda address: True),
        patch.object(checkpoints, "fetch", obtain),
        patch.object(torch.hub, "download_url_to_file", found.download),
    ):
        yield


def _save(state: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        save_file(state, file, metadata={"format": "pt"})
