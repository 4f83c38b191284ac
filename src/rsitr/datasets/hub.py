"""Files of the Hugging Face hub, through its own library: a user's token, its cache, its retries, and resumption."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from rsitr.errors import SourceUnavailable

URL = re.compile(r"hf://(datasets/)?([^/@]+/[^/@]+)@([^/]+)/(.+)")
"""Kind, repository, revision and path."""
CONNECT_TIMEOUT = 5.0
"""Seconds. Short, because a machine without a network should find out at once."""
LOGIN = (
    "there is no such repository, or it is private or gated: accept its terms on its page, and set HF_TOKEN or run "
    "`hf auth login`"
)


class HubUnreachable(SourceUnavailable):
    """There is no connection to the hub, so all of its files are unavailable."""


def endpoint() -> str:
    """The server: that of Hugging Face unless HF_ENDPOINT names another one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def download(url: str, *, again: bool = False) -> Path:
    """A file of the hub in the library's cache (HF_HOME), downloaded unless it is there, or even then.

    Raises ``SourceUnavailable`` with the reason, and ``HubUnreachable`` without a connection.
    """
    # Half a second of imports, which no other source needs.
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    match = URL.fullmatch(url)
    assert match
    kind, repository, revision, path = match.groups()
    kind = "dataset" if kind else "model"
    cached = try_to_load_from_cache(repository, path, revision=revision, repo_type=kind)
    if not constants.HF_HUB_OFFLINE and (again or not isinstance(cached, str)):
        _require_connection()
    try:
        found = hf_hub_download(
            repository, path, repo_type=kind, revision=revision, endpoint=endpoint(), force_download=again
        )
        return Path(found)
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise SourceUnavailable(f"HTTP {error.response.status_code}: {LOGIN}") from None
    except LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            raise SourceUnavailable("HF_HUB_OFFLINE is set, and the file is not in the cache") from None
        raise _unreachable(error.__cause__ or error) from None
    except HfHubHTTPError as error:
        raise SourceUnavailable(f"HTTP {error.response.status_code} {error.response.reason_phrase}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise SourceUnavailable(str(error).partition("\n")[0]) from None


def _require_connection() -> None:
    """Raise ``HubUnreachable`` unless the server answers, whatever it says: the library would try for half a minute."""
    import requests

    try:
        requests.head(endpoint(), timeout=CONNECT_TIMEOUT)
    except requests.RequestException as error:
        raise _unreachable(error) from None


def _unreachable(cause: BaseException) -> HubUnreachable:
    return HubUnreachable(f"no network, or no connection to {urlsplit(endpoint()).netloc}: {cause}")
