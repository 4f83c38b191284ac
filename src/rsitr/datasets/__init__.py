"""Datasets: one file each. A subclass of ``Dataset`` with a ``name``, in any module of this package, is registered."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection
from functools import cache

from rsitr.datasets.base import Dataset
from rsitr.datasets.imported import Imported, imported
from rsitr.errors import ParamsError


@cache
def registry() -> dict[str, type[Dataset]]:
    """Every registered dataset by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    classes = Dataset.__subclasses__()
    for cls in classes:
        classes += cls.__subclasses__()
    found = {cls.name: cls for cls in classes if "name" in vars(cls) and not issubclass(cls, Imported)}
    return dict(sorted(found.items()))


def known() -> dict[str, type[Dataset]]:
    """Every registered dataset by name, and every one that was imported into the project."""
    return registry() | {name: found for name, found in imported().items() if name not in registry()}


def check_name(name: str, datasets: Collection[str]) -> None:
    """Raise ``ParamsError`` unless ``name`` is one of the known datasets."""
    if name not in datasets:
        raise ParamsError(
            f"unknown dataset {name!r}: the known ones are {', '.join(datasets)}. A folder of your own becomes one "
            f"with `rsitr data import FOLDER --as {name}`"
        )


def get_dataset(name: str) -> Dataset:
    """The dataset called ``name``; raises ``ParamsError`` that lists the known ones."""
    datasets = known()
    check_name(name, datasets)
    return datasets[name]()
