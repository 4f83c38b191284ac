"""rsitr: the reproducible benchmark of remote sensing image-text retrieval."""

import sys

from rsitr.errors import ExtrasFinder

sys.meta_path.append(ExtrasFinder)


def __getattr__(name: str) -> str:
    """The version, read when it is asked for: that takes half as long as a job's client takes to start."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version(__name__)
