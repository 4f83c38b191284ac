"""Whether what is here of an experiment is what was written: every file, what is wrong with it, what makes it again.

Nothing is changed, and what is not here is not missed: a clone has records and no data. An artefact of which only a
part is here is damaged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsitr.errors import RsitrError
from rsitr.nn.checkpoints import CACHE as FETCHED
from rsitr.nn.checkpoints import checkpoints
from rsitr.params.ids import PRETRAINING, SCENES
from rsitr.pipeline.forms import (
    GONE,
    readable,
    whole_arrays,
    whole_as_stated,
    whole_csv,
    whole_json,
    whole_matrix,
    whole_printed,
    whole_sealed,
    whole_state,
    whole_table,
)
from rsitr.pipeline.freshness import RECORDS
from rsitr.pipeline.seals import FOLDER as SEALS
from rsitr.pipeline.seals import committed, known, seal_file, sealed
from rsitr.pipeline.targets import Graph
from rsitr.pretraining.spec import PretrainRecord
from rsitr.progress import Progress
from rsitr.records.artefact import ArtefactRecord, ArtefactSpec
from rsitr.records.bundle import ModelBundle
from rsitr.records.cell import Record, Spec, TrainReport
from rsitr.records.certificates import FILE as CERTIFICATES
from rsitr.records.certificates import Ledger
from rsitr.records.files import read_csv, read_json
from rsitr.records.paths import Paths
from rsitr.records.pretraining import PretrainingSpec
from rsitr.records.prior import PriorSpec
from rsitr.records.provenance import sha256_file
from rsitr.records.tuning import TuningRecord
from rsitr.retrieval.rank_files import metrics_of, read_ranks
from rsitr.retrieval.recall import CUTOFFS
from rsitr.retrieval.top_files import read_top

RECALLS = [f"{direction}_r{k}" for direction in ("i2t", "t2i") for k in CUTOFFS]
TOLERANCE = 1e-6
"""Of a percentage."""
NAMED = ("experiment", "method", "name", "scorer", "filter")
"""What a record says of itself that is a part of its place."""
PRINTED = (".csv", ".html", ".md", ".png", ".tex")
"""Files of tables and figures."""
MARKS = ("leakage.training.csv", "leakage.long.csv", "leakage.images.csv")
"""The tables that others are made from, which are sealed."""
SEALED = partial(read_csv, sealed=True)
"""Reads what ends in its hash."""


class Damage(NamedTuple):
    """A file that is not what was written."""

    kind: str
    path: Path
    what: str
    remedy: str
    """A command."""

    def __str__(self) -> str:
        # Errors of readers begin with the path and end with advice of their own.
        what = self.what.removeprefix(f"{self.path} ").split(": restore it from git")[0]
        return f"{self.path}: {what}: {self.remedy}"


class File(NamedTuple):
    """A file that is here."""

    kind: str
    path: Path
    check: Callable[[], Iterable[str]]
    """Says what is wrong; an error of the file's reader says it, too."""
    again: str
    """What makes it again once it is deleted; empty where that is whatever reads it."""


class Found(NamedTuple):
    """What came out."""

    files: Counter[str]
    """By kind."""
    damages: list[Damage]
    unsealed: int
    """Records, and files next to them, whose bytes nothing but their form vouches for."""

    def summary(self) -> str:
        """Counts by kind, in two lines."""
        wrong = Counter(damage.kind for damage in self.damages)
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.files.items())) or "no file"
        verdict = ", ".join(f"{count:,} {kind}" for kind, count in sorted(wrong.items()))
        unsealed = f"; {self.unsealed:,} are neither in git nor sealed: only their form was checked"
        return f"checked: {counts}{unsealed if self.unsealed else ''}\ndamaged: {verdict or 'nothing'}"


def verify(graph: Graph) -> Found:
    """Check every file of an experiment that is here."""
    files = [*_artefacts(graph), *_tables(graph), *_external(graph.experiment.datasets), *_kept(graph.name)]
    tracked = committed(file.path for file in files)
    damages, by_form = [], 0
    seals = _Seals(graph.specs.values())
    with Progress("verify", len(files)) as progress:
        for file in files:
            as_committed = tracked.get(file.path)
            wrong = _wrong(file)
            if not wrong and file.path in seals.covered and not as_committed:
                wrong = [*seals.differs(file.path, as_committed)]
                by_form += not (wrong or seals.has(file.path))
            remedy = "; ".join(filter(None, [f"rm {file.path}" * file.path.is_file(), file.again]))
            if as_committed is False:
                remedy = f"git restore {file.path}"
            damages += [Damage(file.kind, file.path, what, remedy) for what in wrong]
            progress.advance()
    lines = [
        Damage("certificates", CERTIFICATES, what, f"git restore {CERTIFICATES}") for what in Ledger.read().problems
    ]
    counts = Counter(file.kind for file in files) + Counter({"certificates": CERTIFICATES.is_file()})
    return Found(counts, [*damages, *lines], by_form)


def _wrong(file: File) -> list[str]:
    try:
        return list(file.check())[:1]
    except RsitrError as error:
        return [str(error)]
    except (OSError, UnicodeError) as error:
        return [f"it cannot be read ({error})"]


class _Seals:
    """What the last runs here have left."""

    def __init__(self, specs: Iterable[ArtefactSpec]):
        self.covered: set[Path] = set()
        self._known: dict[Path, str] = {}
        self._replaced: set[Path] = set()
        for spec in specs:
            self.covered |= set(sealed(spec))
            self._known |= known(spec)
            reports = spec.trained_outputs[1:3] if isinstance(spec, Spec) else []
            if reports and all(map(self._other, reports)):
                self._replaced |= set(reports)

    def has(self, path: Path) -> bool:
        return path in self._known

    def differs(self, path: Path, as_committed: bool | None) -> Iterator[str]:
        """Of a file that is not as git has it: whether it is not what a run here has left either."""
        if self._other(path) and path not in self._replaced:
            yield "it is not what the last run here wrote"
        elif not self.has(path) and as_committed is False:
            yield "it is not what git has, and no run here has written it"

    def _other(self, path: Path) -> bool:
        return path in self._known and path.is_file() and sha256_file(path) != self._known[path]


# The files that are here


def _artefacts(graph: Graph) -> Iterator[File]:
    for spec in graph.specs.values():
        again = spec.command
        # A cell that was trained need not have been evaluated.
        if any(map(Path.is_file, _results(spec) if isinstance(spec, Spec) else spec.outputs)):
            yield File(spec.FILE, spec.record_file, partial(_record, spec), again)
        for path in _results(spec)[:-1]:
            check = _of_cell(spec, path) if isinstance(spec, Spec) else partial(whole_csv, path)
            wanted = spec.record_file.is_file() and (
                path in known(spec) or not (isinstance(spec, Spec) and path == spec.top_file)
            )
            if path.is_file() or wanted:
                yield File(path.name, path, check, again)
        if isinstance(spec, Spec | PriorSpec | PretrainingSpec):
            yield from _checkpoint(spec, again)
        for path in (seal_file(spec), Path(".rsitr/specs", f"{spec.item}.json")):
            if path.is_file() and SEALS in path.parents:
                yield File("seals", path, partial(readable, SEALED, path), again)
            elif path.is_file():
                yield File("specs", path, partial(whole_json, type(spec), path), again)


def _results(spec: ArtefactSpec) -> list[Path]:
    return (
        spec.scored_outputs if isinstance(spec, Spec) else [path for path in spec.outputs if path.parts[0] == "results"]
    )


def _checkpoint(spec: Spec | PriorSpec | PretrainingSpec, again: str) -> Iterator[File]:
    weights, *reports = spec.trained_outputs[:3]
    if isinstance(spec, Spec) and any(map(Path.is_file, (weights, *reports))):
        of = partial(_train, reports[0]), partial(_bundle, reports[1], reports[0])
        yield from (File(path.name, path, check, again) for path, check in zip(reports, of, strict=True))
        yield File(
            "model.safetensors", weights, partial(_weights, weights, partial(read_json, TrainReport, reports[0])), again
        )
    elif weights.is_file() and not isinstance(spec, Spec):
        yield File("model.safetensors", weights, partial(_weights, weights, partial(_read, spec)), again)
    if isinstance(spec, PretrainingSpec):
        course, losses = weights.with_name("pretrain.json"), weights.with_name("loss.csv")
        checks = {course: partial(whole_json, PretrainRecord, course), losses: partial(whole_csv, losses)}
        yield from (File(path.name, path, check, again) for path, check in checks.items() if path.is_file())


def _tables(graph: Graph) -> Iterator[File]:
    """Tables of data, and those of results that are sealed."""
    datasets = dict.fromkeys([*graph.experiment.datasets, *graph.experiment.sources])
    data = [*map(Path, [*graph.data, *graph.compared]), *map(Paths.dataset, datasets), *map(Paths.thumbnails, datasets)]
    data += [*map(Paths.keywords, datasets)]
    data += [
        path for clean in graph.params.cleans(graph.name) for path in sorted(Paths.similarity(clean).glob("*.npy"))
    ]
    data += [shard for first, second in graph.experiment.compared for shard in _shards(first, second)]
    for path in filter(Path.is_file, dict.fromkeys(data)):
        matrix = path.suffix == ".npy"
        kind = "similarity" if matrix else "clean" if path.name.startswith("clean-") else path.parts[1]
        yield File(kind, path, partial(whole_matrix if matrix else whole_table, path), f"snakemake --cores 2 {path}")
    for path in sorted(Paths.tables(graph.name).glob("*.*")):
        if path.name in MARKS:
            yield File("tables", path, partial(readable, SEALED, path), f"snakemake --cores 2 {path}")
        elif path.suffix in PRINTED:
            yield File("tables", path, partial(whole_printed, path), f"rsitr tables {graph.name}")


def _external(datasets: Iterable[str]) -> Iterator[File]:
    """What `rsitr assess` has recorded of others on the datasets of the experiment."""
    for record in sorted(path for name in datasets for path in Paths.external(name).glob("*/cell.json")):
        again = f"rsitr assess {record.parts[2]} ... --as {record.parent.name}"
        yield File("external", record, partial(whole_json, Record, record), again)
        for name, check in (("ranks.parquet", read_ranks), ("top.parquet", read_top)):
            if (path := record.with_name(name)).is_file():
                yield File("external", path, partial(readable, check, path), again)


def _shards(first: str, second: str) -> list[Path]:
    return sorted(Paths.near_duplicates(first, second).with_suffix("").glob("*.parquet"))


def _kept(experiment: str) -> Iterator[File]:
    """Caches, and what killed runs continue from."""
    again = f"snakemake --cores 2 all --config experiment={experiment}"
    for kind, paths in (
        ("tokens", Path("cache/tokens").glob("*.npy")),
        ("indexes", Path("cache/galleries").rglob("*.npz")),
    ):
        for path in sorted(paths):
            yield File(kind, path, partial(whole_sealed, path), again)
    # The next command that wants them makes them.
    for path in sorted([*Path("cache/meteor").glob("*.npz"), *Path("cache/search").rglob("part-*.npz")]):
        yield File("indexes", path, partial(whole_arrays, path), "")
    for checkpoint in checkpoints().values():
        if checkpoint.sha256 and (path := FETCHED / checkpoint.file).is_file():
            yield File(
                "weights", path, partial(whole_as_stated, path, checkpoint.sha256), f"rsitr weights {experiment}"
            )
    folders = [
        Path("checkpoints", experiment),
        *(Path("checkpoints", kind, experiment) for kind in (SCENES, PRETRAINING)),
    ]
    folders.append(Path(".rsitr/tuning", experiment))
    for path in sorted(path for folder in folders for path in folder.rglob("*.pt")):
        yield File("states", path, partial(whole_state, path), again)
    for path in sorted(folders[-1].rglob("trials.json")):
        yield File("trials", path, partial(readable, partial(read_json, TuningRecord, sealed=True), path), again)


# What can be wrong with them


def _read(spec: ArtefactSpec) -> ArtefactRecord:
    return read_json(RECORDS[spec.kind], spec.record_file)


def _record(spec: ArtefactSpec) -> Iterator[str]:
    if not spec.record_file.is_file():
        yield GONE
        return
    yield from whole_json(RECORDS[spec.kind], spec.record_file)
    record = _read(spec)
    for name in NAMED:
        if hasattr(record, name) and getattr(record, name) not in spec.place.split("/"):
            yield f"it is of another {name}: {getattr(record, name)}"
    if isinstance(record, Record) and record.outcome.status == "ok" and spec.outputs[-4].is_file():
        yield from _numbers(record, spec.outputs[-4])


def _numbers(record: Record, ranks: Path) -> Iterator[str]:
    """What of a record does not agree with its ranks; damaged ranks are a matter of their own."""
    try:
        found = metrics_of(read_ranks(ranks).ranks)
    except RsitrError:
        return
    stated = record.metrics
    for name, value in stated.items():
        if abs(value - found.get(name, value)) > TOLERANCE:
            yield f"it states {name} {value}, and its ranks give {found[name]}"
    ceilings = [stated.get(f"ceiling_{name}", 100.0) for name in RECALLS]
    if abs(float(np.mean(ceilings)) - stated.get("ceiling_mr", 100.0)) > TOLERANCE:
        yield "ceiling_mr is not the mean of its ceilings"
    for name, highest in zip(RECALLS, ceilings, strict=True):
        if not found.get(name, 0.0) - TOLERANCE <= highest <= 100:
            yield f"its ranks give {name} {found.get(name)}, above the ceiling {highest}"


def _of_cell(spec: Spec, path: Path) -> Callable[[], Iterator[str]]:
    ranks, top, *_ = spec.scored_outputs
    return {ranks: partial(_ranks, spec, path), top: partial(_top, spec, path)}.get(path, partial(whole_csv, path))


def _ranks(spec: Spec, path: Path) -> Iterator[str]:
    queries, record = read_ranks(path), _record_of(spec)
    counts = {"images": len(queries.image_ids), "captions": len(queries.image_of)}
    for name, count in counts.items():
        wanted = record.data.get(name, {}).get("test", count) if record and record.outcome.status == "ok" else count
        if count != wanted:
            yield f"it has {count} {name} and its record {wanted}"
    for name, of in queries.ranks.items():
        for ranks, size in ((of.i2t, counts["captions"]), (of.t2i, counts["images"])):
            if len(ranks) and not 1 <= ranks.min() <= ranks.max() <= size:
                yield f"{name} has ranks outside the gallery"


def _record_of(spec: Spec) -> Record | None:
    try:
        return Record.read(spec.record_file)
    except RsitrError:
        return None  # which is reported of the record


def _top(spec: Spec, path: Path) -> Iterator[str]:
    if not path.is_file():
        yield GONE
        return
    top = read_top(path)
    try:
        queries = read_ranks(spec.scored_outputs[0])
    except RsitrError:
        return
    if (top.image_of.tolist(), top.image_ids.tolist()) != (queries.image_of.tolist(), queries.image_ids.tolist()):
        yield "its queries are not those of the ranks next to it"
    elif len(top.image_ids):
        first = queries.ranks["rank"].i2t == 1, queries.ranks["rank"].t2i == 1
        right = top.image_of[top.i2t.items[:, 0]] == np.arange(len(top.image_ids)), top.t2i.items[:, 0] == top.image_of
        if any((found & ~fits).any() for found, fits in zip(first, right, strict=True)):
            yield "its first items are not those of the ranks next to it"


def _train(path: Path) -> Iterator[str]:
    if path.is_file():
        yield from whole_json(TrainReport, path)
    else:
        yield GONE


def _bundle(path: Path, report: Path) -> Iterator[str]:
    if not path.is_file():
        yield GONE
        return
    yield from whole_json(ModelBundle, path)
    bundle = read_json(ModelBundle, path)
    try:
        trained = read_json(TrainReport, report)
    except (RsitrError, OSError):
        return
    for name in ("outcome", "data", "data_sha", "selection", "weights_sha", "used"):
        if getattr(bundle, name) != getattr(trained, name):
            yield f"its {name} is not that of {report.name}"


def _weights(path: Path, record: Callable[[], TrainReport | ArtefactRecord]) -> Iterator[str]:
    if not path.is_file():
        yield GONE
        return
    try:
        of = record()
    except (RsitrError, OSError):
        return  # which is reported of the record
    if of.outcome.status == "ok" and sha256_file(path) != of.weights_sha:
        yield "it is not the file that its record is of"
