"""From params.yaml to what is expected: the specification of every artefact of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from rsitr.datasets import get_dataset
from rsitr.errors import ParamsError
from rsitr.methods.catalog import check, schemas
from rsitr.params import INSTRUCTION, Params, parse_params
from rsitr.params.ids import CellId, NamedId, TuningId
from rsitr.pipeline.inputs import (
    check_split,
    check_two_stages,
    pretraining,
    pretrainings,
    prior,
    prior_of_pretraining,
    priors,
    query,
    setting,
    study_cells,
    study_partner,
    teacher,
)
from rsitr.pipeline.tunings import check_tunings, declared, own_settings, space, subject, tuning, tunings
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import Spec, TuningSpec
from rsitr.records.identity import LOCK, installed, locked
from rsitr.records.paths import Paths
from rsitr.records.pretraining import Instruction, PretrainingSpec, PretrainSettings
from rsitr.records.prior import PriorSpec
from rsitr.records.study import StudySpec
from rsitr.records.two_stage import TwoStageSpec
from rsitr.stages.entries import code_of

S = TypeVar("S", bound=ArtefactSpec)


def open_params(config: dict[str, Any]) -> Params:
    """Parameters from a parsed params.yaml, cells and datasets of the chosen experiment checked."""
    params = parse_params(config)
    cells = params.cells(params.experiment)
    check(params, cells)
    for cell in cells:
        check_split(params, cell)
        teacher(params, cell)
        if started_from := pretraining(params, cell):
            check_start(params, cell, pretrain_settings(params, started_from))
    for wanted in pretrainings(params, params.experiment):
        pretrain_settings(params, wanted)
        get_dataset(params.pretraining(wanted).dataset)
    # Raises for one without a file here.
    named = [name for each in map(params.prior, priors(params, params.experiment)) for name in each.named]
    for dataset in dict.fromkeys([*params[params.experiment].sources, *named]):
        get_dataset(dataset)
    check_two_stages(params, params.experiment)
    check_tunings(params, params.experiment)
    return params


def check_cell(params: Params, cell: CellId) -> None:
    """Raise ``ParamsError`` unless the dataset, method and variant of a cell exist, in the matrix or out of it."""
    check(params, [cell])


def spec_of(params: Params, cell: CellId) -> Spec:
    """What a cell is expected to be under the present parameters and code."""
    return params.once(("cell", cell), lambda: _coded(_tuned(params, cell, _given(params, cell))))


def _tuned(params: Params, cell: CellId, spec: Spec) -> Spec:
    """The specification of a cell with the tuning that it takes settings from, if any."""
    found = tuning(params, cell)
    if found is None:
        return spec
    kept = () if cell.method == found.method else tuple(own_settings(params, cell))
    return spec.model_copy(update={"tuning": tuning_spec(params, found), "own": kept})


def _given(params: Params, cell: CellId) -> Spec:
    """What a cell is expected to be with its settings as given, but for its code."""
    clean = params.clean(cell)
    fields = schemas()[cell.method_name]["schema"].get("properties", {})
    settings = params.overlay(cell, fields)
    taught_by, begun_as, started_from = teacher(params, cell), prior(params, cell), pretraining(params, cell)
    return Spec(
        **cell._asdict() | clean._asdict(),
        settings=settings,
        query=query(params, cell),
        role=params.role(cell),
        packages=packages_of(settings),
        threads=params[cell.experiment].threads,
        code={},
        teacher=spec_of(params, taught_by) if taught_by else None,
        prior=prior_spec(params, begun_as) if begun_as else None,
        pretraining=pretraining_spec(params, started_from) if started_from else None,
    )


def _coded(spec: S) -> S:
    """A specification with the identity of its code."""
    return spec.model_copy(update={"code": code_of(spec)})


def packages_of(settings: dict[str, Any]) -> dict[str, str]:
    """Version of every package whose weights some settings name, ``package://NAME/path``."""
    texts = [value for value in settings.values() if isinstance(value, str) and value.startswith("package://")]
    names = sorted({text.removeprefix("package://").partition("/")[0].replace("_", "-").lower() for text in texts})
    return {name: locked(LOCK).get(name) or installed(name) for name in names}


def prior_spec(params: Params, wanted: NamedId) -> PriorSpec:
    """What a prior is expected to be."""
    threads, stated = params[wanted.experiment].threads, params.prior(wanted)
    packages = packages_of(stated.settings.model_dump())
    return _coded(PriorSpec(**wanted._asdict(), prior=stated, packages=packages, threads=threads, code={}))


def pretraining_spec(params: Params, wanted: NamedId) -> PretrainingSpec:
    """What a pretraining is expected to be."""
    return params.once(("pretraining", wanted), lambda: _pretraining_spec(params, wanted))


def _pretraining_spec(params: Params, wanted: NamedId) -> PretrainingSpec:
    dataset, begun_as = params.pretraining(wanted).dataset, prior_of_pretraining(params, wanted)
    spec = PretrainingSpec(
        **wanted._asdict(),
        dataset=dataset,
        shards=tuple(str(Paths.raw(dataset) / pattern) for pattern in get_dataset(dataset).shards),
        settings=pretrain_settings(params, wanted),
        prior=prior_spec(params, begun_as) if begun_as else None,
        threads=params[wanted.experiment].threads,
        code={},
    )
    return _coded(spec)


def pretrain_settings(params: Params, wanted: NamedId) -> PretrainSettings:
    """The typed settings of a pretraining; raises ``ParamsError`` that names each wrong field."""
    try:
        return PretrainSettings.model_validate(params.pretraining(wanted).settings)
    except ValidationError as error:
        place = f"experiments.{wanted.experiment}.pretrained.{wanted.name}.settings"
        lines = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ParamsError(f"{place} is not valid: {lines}") from None


def check_start(params: Params, cell: CellId, start: PretrainSettings) -> None:
    """Raise ``ParamsError`` unless the model of a cell is the one of the pretraining that it starts from."""
    model, instruction, weights, belief, spatial = setting(
        params, cell, "model", "instruction", INSTRUCTION, "belief", "spatial"
    )
    ours: dict[str, Any] = {"model": model, "instruction": None}
    theirs: dict[str, Any] = {"model": start.model, "instruction": start.instruction}
    if spatial and instruction is not None:
        ours |= {"instruction": Instruction.model_validate(instruction), INSTRUCTION: weights, "belief": belief}
        theirs |= {INSTRUCTION: start.instruction_weights, "belief": start.belief}
    if other := [f"{name} {ours[name]}, not {theirs[name]}" for name in ours if ours[name] != theirs[name]]:
        (weights,) = setting(params, cell, "weights")
        raise ParamsError(
            f"{cell.path} starts from {weights}, which is another model than its own ({'; '.join(other)}): state the "
            "same settings of both, or name other weights"
        )


def tuning_spec(params: Params, wanted: TuningId) -> TuningSpec:
    """What a tuning is expected to be; its teacher is the one of the first cell whose settings it starts from."""
    return params.once(("tuning", wanted), lambda: _tuning_spec(params, wanted))


def _tuning_spec(params: Params, wanted: TuningId) -> TuningSpec:
    how, base = declared(params, wanted.experiment), _given(params, subject(params, wanted))
    spec = TuningSpec(
        base=base.model_copy(update={"seed": how.seed}),
        space=space(params, wanted),
        trials=how.trials,
        max_steps=how.max_steps,
        threads=base.threads,
        code={},
    )
    return _coded(spec)


def two_stage_specs(params: Params, experiment: str) -> list[TwoStageSpec]:
    """What the two-stage retrievals of an experiment are expected to be."""
    found = []
    for wanted, shortlists in params.two_stages(experiment).items():
        scorer, chosen = (spec_of(params, cell) for cell in wanted.cells)
        spec = TwoStageSpec(scorer=scorer, filter=chosen, shortlists=tuple(shortlists), threads=scorer.threads, code={})
        found.append(_coded(spec))
    return found


def study_spec(params: Params, cell: CellId) -> StudySpec:
    """What the study of a cell is expected to be."""
    own, partner = spec_of(params, cell), study_partner(params, cell)
    other = spec_of(params, partner) if partner else None
    return _coded(StudySpec(cell=own, two_encoders=other, threads=own.threads, code={}))


def artefacts(params: Params, experiment: str) -> Iterator[ArtefactSpec]:
    """Every artefact of an experiment, each after those that it rests on."""
    yield from (prior_spec(params, wanted) for wanted in priors(params, experiment))
    yield from (pretraining_spec(params, wanted) for wanted in pretrainings(params, experiment))
    # Teachers first, and tunings before the cells that take their settings.
    cells = [spec_of(params, cell) for cell in params.cells(experiment)]
    tuned = [tuning_spec(params, wanted) for wanted in tunings(params, experiment)]
    for taught in (False, True):
        yield from (spec for spec in tuned if (spec.base.teacher is not None) == taught)
        yield from (spec for spec in cells if (spec.teacher is not None) == taught)
    yield from two_stage_specs(params, experiment)
    yield from (study_spec(params, cell) for cell in study_cells(params, experiment))


def configurations(params: Params, experiment: str) -> dict[str, ArtefactSpec]:
    """Every artefact of an experiment by its configuration, each once: of its first seed."""
    first: dict[str, ArtefactSpec] = {}
    for spec in artefacts(params, experiment):
        first.setdefault(spec.configuration, spec)
    return first


def find(params: Params, item: str) -> ArtefactSpec | None:
    """The artefact that is called ``item`` (``ArtefactSpec.item``), or None."""
    experiment = item.split("/")[1] if item.count("/") > 1 else ""
    specs: Iterable[ArtefactSpec] = artefacts(params, experiment) if experiment in params.experiments else ()
    return next((spec for spec in specs if spec.item == item), None)
