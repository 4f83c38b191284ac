"""What params.yaml may say about each method, checked before the graph is built.

Typing a configuration needs the method's class, and that needs torch. The schemas of all methods are therefore written
once to a file outside the project, keyed by the sources they come from, and read from there by every later parse.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

from rsitr.datasets import check_name
from rsitr.datasets import known as datasets
from rsitr.errors import ParamsError
from rsitr.methods import entry, registry
from rsitr.params import Params
from rsitr.params.ids import CellId
from rsitr.records.code import sources
from rsitr.records.files import write_text
from rsitr.records.remembered import cache_file, forget_old


@cache
def schemas() -> dict[str, Any]:
    """Name of each method -> {schema, variants, filters_itself, summary, trainable, differences}, kept in the user's
    cache while the sources are the same.

    Variants are their overlays by name; differences from what was published are by variant, '' being the defaults.
    """
    path = cache_file("methods", sources().digest, ".json")
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    result = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True)
    if result.returncode:
        raise ParamsError(f"the methods cannot be imported:\n{result.stderr.strip().splitlines()[-1]}")
    with suppress(OSError):  # a home that cannot be written costs seconds each time, and nothing else
        write_text(path, result.stdout)
        forget_old(path)
    return json.loads(result.stdout)


def check(params: Params, cells: Iterable[CellId]) -> None:
    """Raise ``ParamsError`` for an unknown dataset, method, variant or field, or a value of the wrong type."""
    import jsonschema  # which many commands do not need

    known, names = schemas(), datasets()
    for cell in dict.fromkeys(cell._replace(seed=0) for cell in cells):
        check_name(cell.dataset, names)
        entry(cell.method_name)
        facts = known[cell.method_name]
        named = params[cell.experiment].settings.methods
        if cell.variant and cell.variant not in facts["variants"] and cell.method not in named:
            variants = ", ".join(sorted(facts["variants"])) or "none"
            raise ParamsError(
                f"{cell.method_name} has no variant {cell.variant!r} ({variants}): "
                f"name one of them, or configure it in experiments.{cell.experiment}.settings.methods.{cell.method}"
            )
        overlay = params.overlay(cell, facts["schema"].get("properties", {}))
        for error in jsonschema.Draft202012Validator(facts["schema"]).iter_errors(overlay):
            place = ".".join(map(str, error.absolute_path)) or cell.method
            raise ParamsError(f"experiment {cell.experiment}, method {cell.method}: {place}: {error.message}")
    _check_settings_names(params, cells)


def _check_settings_names(params: Params, cells: Iterable[CellId]) -> None:
    for name in {cell.experiment for cell in cells}:
        experiment = params[name]
        methods = {method for entry in experiment.methods for method in (entry, entry.partition("@")[0])}
        pairs = {f"{cell.dataset}/{cell.method}" for cell in params.cells(name)}
        for key, allowed in (("methods", methods), ("datasets", set(experiment.datasets)), ("cells", pairs)):
            if unused := set(getattr(experiment.settings, key)) - allowed:
                raise ParamsError(
                    f"experiments.{name}.settings.{key} names {sorted(unused)}, which its matrix does not have"
                )


def _describe() -> dict[str, Any]:
    from rsitr.methods import get_method
    from rsitr.methods.configure import differences

    found = {name: get_method(name) for name in registry()}
    return {
        name: {
            "schema": cls.Config.model_json_schema(),
            "variants": cls.variants,
            "filters_itself": cls.filters_itself(),
            "summary": (cls.__doc__ or "").strip().splitlines()[0],
            "trainable": cls.trainable,
            "differences": {variant: differences(cls, variant) for variant in ("", *cls.variants)},
        }
        for name, cls in found.items()
    }


if __name__ == "__main__":
    json.dump(_describe(), sys.stdout)
