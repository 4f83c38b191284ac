"""Identities: one hash of all code, data of the package and libraries that compute a number."""

from __future__ import annotations

import importlib.metadata
import sys
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

from rsitr.records.code import PACKAGE, Sources, sources
from rsitr.records.provenance import sha256_json
from rsitr.records.remembered import remembered

LOCK = Path("requirements.lock")
COMPUTING = {
    **{name: (name,) for name in ("nltk", "numba", "numpy", "pandas", "pycocoevalcap", "rasterio", "scipy")},
    **{name: (name,) for name in ("snowballstemmer", "textblob", "timm", "torch", "torchvision")},
    "PIL": ("pillow",),
    "cv2": ("opencv-python-headless",),
    "faiss": ("faiss-cpu",),
    "optuna": ("optuna",),
    "open_clip": ("open-clip-torch", "timm", "torch"),
    "sklearn": ("scikit-learn",),
    "transformers": ("transformers", "tokenizers"),
}
"""Modules that take part in computing numbers -> the packages whose versions count."""
PACKAGES = sorted({package for names in COMPUTING.values() for package in names})


@cache
def locked(lock: Path) -> dict[str, str]:
    """Package -> version in the lock file, for this Python and system; empty where there is none."""
    found: dict[str, str] = {}
    for line in lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else ():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                found[requirement.name.lower().replace("_", "-")] = next(iter(requirement.specifier)).version
    return found


@cache
def installed(package: str) -> str:
    """The version of an installed package without its local part (``+cu130``); empty where it is not installed."""
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def code_sha(entries: tuple[str, ...], code: Sources | None = None, lock: Path | None = LOCK) -> str:
    """Hash of everything that the ``entries`` (dotted names of modules or definitions) reach.

    The versions of libraries are those of the lock file, or the installed ones where ``lock`` is None or has none.
    """
    code = code or sources()
    known = locked(lock) if lock else {}
    versions = {package: known.get(package) or installed(package) for package in PACKAGES}
    if code.package != PACKAGE:
        return _code_sha(entries, code, versions)
    key = sha256_json([entries, versions, sys.version_info[:2]])
    return remembered("code", code.digest, key, lambda: _code_sha(entries, code, versions))


def _code_sha(entries: tuple[str, ...], code: Sources, versions: dict[str, str]) -> str:
    reached = code.reach(entries)
    modules = {name for definition in reached.values() for name in definition.libraries}
    packages = sorted({package for name in modules for package in COMPUTING.get(name, ())})
    return sha256_json(
        [sorted({code.label(key) for key in reached}), {package: versions[package] for package in packages}]
    )
