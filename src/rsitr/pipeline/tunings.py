"""Which tunings an experiment has, of which settings, over which values. Nothing here needs torch."""

from __future__ import annotations

from typing import Any

from rsitr.errors import ParamsError
from rsitr.methods.catalog import schemas
from rsitr.params import REPLACED_BY_PHASES, Params
from rsitr.params.ids import CellId, TuningId
from rsitr.params.tuning import DECIDED, Choices, Range, Space, Tuning
from rsitr.pipeline.inputs import setting, teacher


def tuning(params: Params, cell: CellId) -> TuningId | None:
    """The tuning whose best settings a cell takes, if any: that of its method without a variant.

    Of a method that its dataset has in variants alone, that of the first of them. Raises ``ParamsError`` where that one
    learns from other images than the cell.
    """
    if not params.tuned(cell) or not schemas()[cell.method_name]["trainable"]:
        return None
    found = TuningId(cell.experiment, cell.dataset, _subject_of(params, cell).method)
    own, other = params.clean(cell), params.clean(subject(params, found))
    if own != other:
        raise ParamsError(
            f"{cell.path} learns from {own.name}, and the tuning {found.path} from {other.name}: give its block "
            "`settings: given`, or both the same training set"
        )
    return found


def own_settings(params: Params, cell: CellId) -> list[str]:
    """The settings that params.yaml states for the variant of a cell, and not for its method as a whole."""
    settings, place = params[cell.experiment].settings, f"{cell.dataset}/{cell.method}"
    return [*(settings.methods.get(cell.method, {}) | settings.cells.get(place, {}))] if cell.variant else []


def _subject_of(params: Params, cell: CellId) -> CellId:
    """The first cell of the method of a cell on its dataset, without a variant if there is one."""
    cells = [each for each in params.cells(cell.experiment) if each.dataset == cell.dataset]
    own = [each for each in cells if each.method_name == cell.method_name]
    return next((each for each in own if not each.variant), own[0])


def subject(params: Params, wanted: TuningId) -> CellId:
    """The first cell with the settings that a tuning starts from; raises ``ParamsError`` where the matrix has none."""
    cells = params.cells(wanted.experiment)
    found = next((cell for cell in cells if (cell.dataset, cell.method) == (wanted.dataset, wanted.method)), None)
    if found is None:
        raise ParamsError(
            f"experiments.{wanted.experiment}.matrix has no {wanted.method} on {wanted.dataset}: name a method of the "
            "matrix, as EXPERIMENT/DATASET/METHOD"
        )
    return found


def tunings(params: Params, experiment: str) -> list[TuningId]:
    """Every tuning that cells of an experiment take their settings from."""
    found = (tuning(params, cell) for cell in params.cells(experiment))
    return list(dict.fromkeys(each for each in found if each))


def declared(params: Params, experiment: str) -> Tuning:
    """The block ``tuning`` of an experiment; raises ``ParamsError`` where there is none."""
    found = params[experiment].tuning
    if found is None:
        raise ParamsError(f"experiments.{experiment} has no `tuning`: add how many trials, and over which settings")
    return found


def space(params: Params, wanted: TuningId) -> Space:
    """What a tuning searches over, the ranges of real numbers as such.

    Raises ``ParamsError`` for what its method cannot have, where params.yaml means it alone, and for an empty space.
    """
    found = _space(params, subject(params, wanted))
    if not found:
        place = f"experiments.{wanted.experiment}.tuning.space"
        raise ParamsError(
            f"{wanted.path} has nothing to tune: name settings of {wanted.method} in {place}.methods, or give its "
            "blocks `settings: given`"
        )
    return found


def check_tunings(params: Params, experiment: str) -> None:
    """Raise ``ParamsError`` for a space that a method of the matrix cannot have, whether it is tuned or not."""
    found = params[experiment].tuning
    if found is None:
        return
    names = {cell.method_name for cell in params.cells(experiment)}
    if unknown := [name for name in found.space.methods if name not in names]:
        raise ParamsError(
            f"experiments.{experiment}.tuning.space.methods names {unknown[0]}, which the matrix does not have: name "
            "methods without variants"
        )
    for name in found.space.methods:
        if not schemas()[name]["trainable"]:
            raise ParamsError(f"experiments.{experiment}.tuning.space.methods names {name}, which is not trained")
    for cell in dict.fromkeys(_subject_of(params, cell) for cell in params.cells(experiment)):
        if schemas()[cell.method_name]["trainable"]:
            _space(params, cell)
    for wanted in tunings(params, experiment):
        space(params, wanted)
        base = subject(params, wanted)
        taught_by = teacher(params, base)
        if taught_by and taught_by.method_name == base.method_name and params.tuned(taught_by):
            raise ParamsError(
                f"{wanted.path} learns from {taught_by.method}, which waits for its settings: give that one's block "
                "`settings: given`"
            )
        (selection,) = setting(params, base, "selection")
        if selection != "val":
            raise ParamsError(f"{wanted.path} has `selection: {selection}`, and a tuning goes by val alone")


def _space(params: Params, cell: CellId) -> Space:
    spaces, name = declared(params, cell.experiment).space, cell.method_name
    fields = schemas()[name]["schema"].get("properties", {})
    (phases,) = setting(params, cell, "phases")
    barred = {*REPLACED_BY_PHASES} if phases else set()
    own = spaces.methods.get(name, {})
    shared = {field: domain for field, domain in spaces.all.items() if field in fields and field not in barred}
    place = f"experiments.{cell.experiment}.tuning.space"
    for field in own:
        if field not in fields:
            raise ParamsError(f"{place}.methods.{name}: {name} has no setting {field!r}")
        if field in barred:
            raise ParamsError(
                f"{place}.methods.{name}.{field}: on {cell.dataset} its phases have their own: tune `phases` instead"
            )
    found = {}
    for layer, domains in (("all", shared), (f"methods.{name}", own)):
        for field, domain in domains.items():
            found[field] = _typed(f"{place}.{layer}.{field}", name, field, domain)
    return found


def _typed(place: str, method: str, field: str, domain: Range | Choices) -> Range | Choices:
    """A domain as the type of its field has it; raises ``ParamsError`` for values that the field refuses."""
    import jsonschema

    if field in DECIDED:
        raise ParamsError(f"{place}: {field!r} is not tuned: it decides what a cell reads, or how trials are judged")
    schema = schemas()[method]["schema"]
    for value in domain.ends:
        for error in jsonschema.Draft202012Validator(schema).iter_errors({field: value}):
            raise ParamsError(f"{place}: {method} does not take {value!r}: {error.message}")
    if isinstance(domain, Choices):
        return domain
    kinds = _types(schema["properties"][field])
    if not kinds & {"integer", "number"}:
        raise ParamsError(f"{place}: {field} of {method} is not a number: state `choices` instead of a range")
    if "number" not in kinds:
        return domain
    return domain.model_copy(update={"low": float(domain.low), "high": float(domain.high)})


def _types(schema: dict[str, Any]) -> set[str]:
    return {each["type"] for each in schema.get("anyOf", [schema]) if "type" in each}
