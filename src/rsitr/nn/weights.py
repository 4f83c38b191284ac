"""Finding pretrained weights that libraries fetch: in their caches, on the Hugging Face hub, at an address.

Whether the hub is reachable is decided within seconds, before anything is downloaded, so that a machine without a
network records a skipped cell and continues.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import requests
import torch
from huggingface_hub import constants, try_to_load_from_cache

from rsitr.errors import WeightsUnavailable

PROBE_SECONDS = 4
HOW_TO = (
    "connect this machine to the network, or fetch the weights elsewhere and copy them into the Hugging Face cache "
    "(HF_HOME), or name a local file in params.yaml"
)


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
