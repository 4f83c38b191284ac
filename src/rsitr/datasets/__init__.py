"""Datasets: one file each. A subclass of ``Dataset`` with a ``name``, in any module of this package, is registered."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from rsitr.datasets.base import Dataset
from rsitr.errors import ParamsError


@cache
def registry() -> dict[str, type[Dataset]]:
    """Every registered dataset by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    classes = Dataset.__subclasses__()
    for cls in classes:
        classes += cls.__subclasses__()
    found = {cls.name: cls for cls in classes if "name" in vars(cls)}
    return dict(sorted(found.items()))


def get_dataset(name: str) -> Dataset:
    """The dataset called ``name``; raises ``ParamsError`` that lists the known ones."""
    if name not in registry():
        raise ParamsError(f"unknown dataset {name!r}: the known ones are {', '.join(registry())}")
    return registry()[name]()
