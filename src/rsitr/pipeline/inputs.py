"""What a cell needs besides its clean table: files made from captions, the cell of a teacher, the weights of a prior.

The Snakefile asks this of every cell, so nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from rsitr.datasets.protocols import get_protocol
from rsitr.errors import ParamsError
from rsitr.methods.catalog import schemas
from rsitr.params import INSTRUCTION, Params
from rsitr.params.ids import CellId, NamedId, pretraining_of, prior_of
from rsitr.records.paths import Paths
from rsitr.records.study import CLIP_ONLY, TWO_ENCODERS


def setting(params: Params, cell: CellId, *names: str) -> list[Any]:
    """What some fields of a cell's configuration are set to; None where its method has no such field."""
    facts = schemas()[cell.method_name]
    fields = facts["schema"].get("properties", {})
    chosen = facts["variants"].get(cell.variant, {}) | params.overlay(cell, fields)
    return [chosen.get(name, fields[name].get("default")) if name in fields else None for name in names]


def query(params: Params, cell: CellId) -> str:
    """What a text query of a cell is."""
    (found,) = setting(params, cell, "query")
    return found or "sentence"


def teacher(params: Params, cell: CellId) -> CellId | None:
    """The cell of the same dataset and seed whose scores a cell learns from, if any.

    Raises ``ParamsError`` unless that cell is in the matrix, reads the same images and queries and has itself no
    teacher.
    """
    name, query = setting(params, cell, "teacher", "query")
    if not name:
        return None
    found, place = cell._replace(method=name), f"experiments.{cell.experiment}"
    if not params.has(found):
        raise ParamsError(
            f"{cell.path} learns from {name}, which the matrix does not have there: add {name} on {cell.dataset} with "
            f'seed {cell.seed} to {place}.matrix, or set `teacher: ""` in {place}.settings.methods.{cell.method}'
        )
    further, taught_queries = setting(params, found, "teacher", "query")
    if further:
        raise ParamsError(
            f"{name} cannot teach {cell.method}, for it learns from {further} itself: name another teacher"
        )
    if params.clean(found) != params.clean(cell):
        raise ParamsError(
            f"{name} learns from {params.clean(found).name} and cannot teach {cell.method}, which learns from "
            f"{params.clean(cell).name}: give both the same `split_protocol` and `dedup` in {place}.matrix"
        )
    if taught_queries != query:
        raise ParamsError(
            f"{name} reads the queries `{taught_queries}` and cannot teach {cell.method}, which reads `{query}`: "
            "name a teacher with the same `query`"
        )
    return found


def check_split(params: Params, cell: CellId) -> None:
    """Raise ``ParamsError`` unless the split protocol of a cell is defined on its dataset and has what queries need."""
    protocol = get_protocol(params.clean(cell).split_protocol)
    protocol.check(cell.dataset)
    if protocol.joint and query(params, cell) != "sentence":
        raise ParamsError(
            f"{cell.path} reads keywords, and {protocol.name} trains on several datasets, of which only captions are "
            "read: give it another split protocol"
        )


def check_two_stages(params: Params, experiment: str) -> None:
    """Raise ``ParamsError`` unless both cells of a two-stage retrieval are in the matrix and read the same queries."""
    for wanted in params.two_stages(experiment):
        place = f"experiments.{experiment}.two_stage"
        for role, cell in zip(("scorer", "filter"), wanted.cells, strict=True):
            if not params.has(cell):
                raise ParamsError(
                    f"{place} names the {role} {cell.method}, which the matrix does not have on {cell.dataset} with "
                    f"seed {cell.seed}: add it to experiments.{experiment}.matrix, or correct the name"
                )
        scorer, chosen = wanted.cells
        if scorer == chosen and not schemas()[scorer.method_name]["filters_itself"]:
            raise ParamsError(f"{place}: {wanted.scorer} cannot be its own filter: name a cheaper method as the filter")
        if query(params, scorer) != query(params, chosen):
            raise ParamsError(f"{place}: {wanted.scorer} and {wanted.filter} read different queries (`query`)")


def prior(params: Params, cell: CellId) -> NamedId | None:
    """The prior that a part of a cell's model begins as, if any; raises ``ParamsError`` for an unknown one."""
    weights, spatial = setting(params, cell, INSTRUCTION, "spatial")
    # PIR instructs Spatial-PAE alone: without it the model has no part that a prior could begin.
    found = prior_of(weights) if isinstance(weights, str) and spatial is not False else None
    if found:
        params.prior(found)
    return found


def pretraining(params: Params, cell: CellId) -> NamedId | None:
    """The pretraining that a cell starts from, if any; raises ``ParamsError`` for an unknown one."""
    (weights,) = setting(params, cell, "weights")
    found = pretraining_of(weights) if isinstance(weights, str) else None
    if found:
        params.pretraining(found)
    return found


def pretrainings(params: Params, experiment: str) -> list[NamedId]:
    """Every pretraining of an experiment, and those of others that its cells start from."""
    own = (NamedId(experiment, name) for name in params[experiment].pretrained)
    used = (pretraining(params, cell) for cell in params.cells(experiment))
    return list(dict.fromkeys([*own, *(found for found in used if found)]))


def prior_of_pretraining(params: Params, wanted: NamedId) -> NamedId | None:
    """The prior that the instruction encoder of a pretraining starts as, if any."""
    found = prior_of(str(params.pretraining(wanted).settings.get(INSTRUCTION, "")))
    if found:
        params.prior(found)
    return found


def priors(params: Params, experiment: str) -> list[NamedId]:
    """Every prior of an experiment, and those of others that its cells and pretrainings use."""
    used = [prior(params, cell) for cell in params.cells(experiment)]
    used += [prior_of_pretraining(params, each) for each in pretrainings(params, experiment)]
    return list(dict.fromkeys([*params.priors(experiment), *(found for found in used if found)]))


def measures(params: Params, cell: CellId) -> list[str]:
    """What a cell's loss reads of how similar the training captions are; empty unless its margin is dynamic."""
    from rsitr.captions.margin import weights_of

    kind, similarity, bleu = setting(params, cell, "margin_type", "prior", "prior_bleu")
    return list(weights_of(similarity, bleu)) if kind == "dynamic" else []


def caption_files(params: Params, cell: CellId) -> list[Path]:
    """What a cell reads that was made from captions: the matrices behind ``measures``, and keywords."""
    folder = Paths.similarity(params.clean(cell))
    mode = query(params, cell)
    keywords = [] if mode == "sentence" else [Paths.keywords(cell.dataset)]
    # The matrices are of the captions as they are, and keywords alone are other queries.
    matrices = [] if mode == "keywords" else measures(params, cell)
    return [*(folder / f"{name}.npy" for name in matrices), *keywords]


def pir_cells(params: Params, experiment: str) -> dict[str, CellId]:
    """The cells that PIR's pictures are drawn from, by what they are called there; empty without PIR-ITR.

    The last is PIR-ITR, on the first dataset and seed on which the matrix has it, with soft belief if there is one.
    Before it stand those that differ from it in nothing but the weight of the affiliation loss, in the order of that
    weight, and at the beginning ``vse``.
    """
    cells = params.cells(experiment)
    main = next((cell for name in ("pir-itr-soft", "pir-itr-hard") for cell in cells if cell.method == name), None)
    if main is None:
        return {}
    others = [name for name in schemas()[main.method_name]["schema"]["properties"] if name != "affiliation"]
    found = []
    for cell in cells:
        same = cell._replace(method=main.method) == main and cell.method_name == main.method_name and cell != main
        if same and setting(params, cell, *others) == setting(params, main, *others):
            found.append((*setting(params, cell, "affiliation"), cell))
    found.sort(key=lambda pair: pair[0])
    vse = main._replace(method="vse")
    scales = {f"{main.method}, λ = {scale:g}": cell for scale, cell in found}
    return ({"vse": vse} if vse in cells else {}) | scales | {main.method: main}


def amfmn_cells(params: Params, experiment: str) -> dict[str, CellId]:
    """The cells that AMFMN's pictures are drawn from, by the kind of their queries; empty without AMFMN-sim.

    They are of the first dataset and seed on which the matrix has it.
    """
    names = {"sentence": "amfmn-sim", "keywords": "amfmn-sim@keywords", "joint": "amfmn-sim@joint"}
    found = _side_by_side(params, experiment, names.values(), begin=["amfmn-sim"])
    return {mode: found[name] for mode, name in names.items() if name in found}


def mtgfe_cells(params: Params, experiment: str) -> dict[str, CellId]:
    """The cells that MTGFE's pictures are drawn from, by their method; empty without MTGFE.

    They are those of Table 3, as far as the matrix has them, on the first dataset and seed on which it has one.
    """
    names = ("mtgfe@itm", "mtgfe@itm-mlm", "mtgfe@itm-mvjrc", "mtgfe")
    return _side_by_side(params, experiment, names, begin=names)


def _side_by_side(params: Params, experiment: str, methods: Iterable[str], begin: Collection[str]) -> dict[str, CellId]:
    """The cells of some methods on the first dataset and seed on which the matrix has one of ``begin``, by method."""
    cells = params.cells(experiment)
    first = next((cell for cell in cells if cell.method in begin), None)
    found = {name: first._replace(method=name) for name in methods} if first else {}
    return {name: cell for name, cell in found.items() if cell in cells}


def study_cells(params: Params, experiment: str) -> list[CellId]:
    """The cells that the study of CLIP alone asks, in the order of the matrix; empty without CLIP.

    They are those of CLIP, trained further or not, that sentences are queries of, and on the same datasets and seeds
    those of the two encoders that it is held against.
    """
    cells = params.cells(experiment)
    clips = [cell for cell in cells if cell.method_name in CLIP_ONLY and query(params, cell) == "sentence"]
    chosen = {*clips, *(cell._replace(method=TWO_ENCODERS) for cell in clips)}
    return [cell for cell in cells if cell in chosen]


def study_partner(params: Params, cell: CellId) -> CellId | None:
    """The cell of the two encoders that one of CLIP is timed next to, if the matrix has it."""
    found = cell._replace(method=TWO_ENCODERS)
    return found if found != cell and params.has(found) else None


def study_shown(params: Params, experiment: str) -> dict[str, CellId]:
    """The cells that the study's pictures are of, by method: those of one dataset and seed, the first with CLIP."""
    cells = study_cells(params, experiment)
    first = next((cell for cell in cells if cell.method_name in CLIP_ONLY), None)
    return {cell.method: cell for cell in cells if first and cell._replace(method=first.method) == first}
