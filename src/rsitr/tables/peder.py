"""The tables of the study of CLIP alone (S. Dinesh Krishnan et al., 2025): measures, its two claims, failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from rsitr.params import Experiment
from rsitr.params.ids import CellId
from rsitr.records.cell import Published
from rsitr.records.paths import Paths
from rsitr.records.study import CLIP_ONLY, TWO_ENCODERS, Study
from rsitr.retrieval.failures import read_failures
from rsitr.tables import paper_table
from rsitr.tables.declared import Declared, Shown, rendered
from rsitr.tables.entries import Entries, Entry, Run
from rsitr.tables.layout import Cell, Group, Row, Table, labelled, noted, write_tables
from rsitr.tables.paper_table import PaperRow, PaperTable
from rsitr.tables.published import lookup, places
from rsitr.tables.view import View, averaged, with_roles

CLAIMS_KEY = Published(paper="peder2025", table="sec4-result", method="peder")
PROBABILITIES_KEY = Published(paper="peder2025", table="fig4.1-i2t", method="peder")
MEASURES = {
    **{"i2t_r1": "i2t R@1", "t2i_r1": "t2i R@1", "mr": "mR"},
    **{"map_i2t": "i2t mAP", "map_t2i": "t2i mAP", "map": "mAP", "dup_map": "mAP, identical captions count"},
    **{"accuracy": "accuracy", "choice": "one of five"},
    **{"cosine_matched": "cosine matched", "cosine_unmatched": "cosine unmatched", "inference_s": "inference (s)"},
    "params_m": "parameters (M)",
}
WHOSE = (
    "The study says which architectures its CLIP has and not whose weights. Its Fig. 4.1 has the captions of the "
    "notebook in RemoteCLIP's repository, and for RN50 the probabilities that are printed there: its models are "
    "probably RemoteCLIP (remoteclip) and not OpenAI's (clip), but the study does not say so."
)
CAPTION = (
    "CLIP alone for both directions, and two encoders (vse) on the same data. The study names recall, accuracy and "
    "mean average precision, but defines none of them and prints no numbers for them. Here, in percent, ties against "
    "the method: mAP is the mean over queries of the average precision over all relevant items, and without a "
    "direction the mean of both directions; accuracy is the share of all queries of both directions whose first item "
    "is theirs; one of five is how often, as in the study's Fig. 4.1, the matching one of five captions is the most "
    "probable for an image, in expectation over all draws. Cosine: mean over matched pairs, and over pairs whose "
    "caption has a text that none of the image's own has. Inference: seconds from one image and one caption to their "
    f"score. {WHOSE}"
)
ABOUT_CLAIMS = (
    "The study's claims next to what is measured. It claims, without naming a dataset, an average cosine similarity "
    "improved by 93 percent over methods with Swin and BERT, and an inference time shortened by 83 percent, without "
    "absolute values; it says neither for which pairs nor from what to what. Here: the mean cosine of matched pairs, "
    "and the seconds from one image and one caption to their score, CLIP and the two encoders (vse) in turn in one "
    "process. Change: of CLIP against the two encoders, in percent of theirs. Cosines of models with different "
    "temperatures share no scale, and a higher one says nothing about retrieval. CLIP itself is two encoders, one for "
    "images and one for texts; the size of each model is in peder-measures. " + WHOSE
)
ABOUT_FAILURES = (
    "The queries whose own items ranked lowest, for the first seed. Rank: of the item that fits best. First: what "
    "came first instead. Scores are cosines. IMAGE#K is the K-th caption of an image; its words stay with the "
    "dataset, and `rsitr peder failures` shows them if the dataset is available."
)


def concerns(methods: Sequence[str]) -> bool:
    """Whether any of these methods is one that the study is about."""
    named = (method.partition("@") for method in methods)
    return any(name in CLIP_ONLY and variant not in ("keywords", "joint") for name, _, variant in named)


def with_studies(entries: Entries, cells: Mapping[CellId, Sequence[str]]) -> Entries:
    """The entries of these cells, each record with what the study measured of its cell.

    ``cells`` says what the study of each no longer agrees with. A cell without a study has no number, and one whose
    study failed has its reason.
    """
    found = {}
    for key in dict.fromkeys((cell.dataset, cell.method) for cell in cells):
        runs = (_with_study(run, cells[run.cell]) for run in entries[key].runs if run.cell in cells)
        found[key] = replace(entries[key], runs=tuple(runs))
    return found


def _with_study(run: Run, stale: Sequence[str]) -> Run:
    study = Study.read(Paths.study(run.cell) / "study.json")
    if run.record is None or run.record.outcome.status != "ok":
        return run
    if study is None:
        return replace(run, record=None)
    measured = {
        "outcome": study.outcome,
        "metrics": run.record.metrics | study.metrics,
        "seconds": run.record.seconds | study.seconds,
        "machine": study.machine,
    }
    record = run.record.model_copy(update=measured)
    return replace(run, record=record, stale=[*dict.fromkeys([*run.stale, *stale])])


def _label(method: str) -> str:
    name, _, variant = method.partition("@")
    text = {"clip": "CLIP", "clip-ft": "CLIP fine-tuned", "remoteclip": "RemoteCLIP", TWO_ENCODERS: "two encoders"}[
        name
    ]
    return f"{text} ({variant})" if variant else text


def measures(methods: Sequence[str]) -> PaperTable:
    """The table of measures: CLIP first, the two encoders below a line."""
    ordered = sorted(methods, key=lambda method: method == TWO_ENCODERS)
    return PaperTable(
        name="peder-measures",
        title="The study of CLIP alone: measures",
        caption=CAPTION,
        datasets=(),
        rows=tuple(PaperRow(_label(method), method, rule=method == TWO_ENCODERS) for method in ordered),
        stub="model",
        measures=MEASURES,
        printed={},
        difference="",
    )


class _Claims(View):
    """The two claims: for each CLIP and dataset its number, that of the two encoders, and the change."""

    CLAIMS = (
        ("mean cosine of matched pairs", "cosine_matched", "cosine_matched", "cosine_similarity_improvement_pct", 1),
        ("inference time (s)", "inference_s", "two_encoders_s", "inference_time_reduction_pct", -1),
    )
    """Label, our number of CLIP, that of the two encoders, the published metric, and the sign of its change."""

    def cells(self, entry: Entry, ours: str, theirs: str) -> Iterator[Cell]:
        """CLIP, the two encoders, the change in percent."""
        # Times were taken in turn, so that of the two encoders is in the record of the CLIP it ran with.
        source = entry if theirs.endswith("_s") else self.entry(entry.dataset, TWO_ENCODERS)
        yield self.plain(entry, ours)
        if not entry.values(ours) or not source.values(theirs):
            yield from [self.value(source, theirs) if entry.values(ours) else self.value(entry, ours)] * 2
            return
        yield self.plain(source, theirs)
        pairs = list(zip(entry.values(ours), source.values(theirs), strict=False))
        if min(base for _, base in pairs) <= 0:
            yield noted("NA", "a percentage needs a positive starting value")
        else:
            yield Cell(averaged([100 * (value / base - 1) for value, base in pairs], "+.1f"))

    def table(self) -> Table:
        """A row for each claim and CLIP."""
        clips = [method for method in self.methods if method != TWO_ENCODERS]
        datasets = [dataset for dataset in self.datasets if self.of(dataset)]
        real = not all(map(self.synthetic, datasets))
        rows: list[Row] = []
        for label, ours, theirs, metric, sign in self.CLAIMS:
            printed = Cell(f"{sign * lookup(CLAIMS_KEY, '', (metric,))[metric]:+g}")
            for number, method in enumerate(clips):
                cells = chain(*(self.cells(self.entry(dataset, method), ours, theirs) for dataset in datasets))
                rows.append(Row(label, (Cell(method), *([printed] if real else []), *cells), rule=number == 0))
        groups = [Group("", ("method", *(["claimed change %"] if real else [])))]
        groups += [Group(self.heading(dataset), ("CLIP", "two encoders", "change %")) for dataset in datasets]
        caption = ABOUT_CLAIMS + self.of_synthetic()
        table = Table("The study of CLIP alone: its claims", caption, "claim", tuple(groups), tuple(rows))
        return with_roles(table, [self.role(method) for _ in self.CLAIMS for method in clips], place=1)


COLUMNS = {name: name for name in ("direction", "rank", "fitting")} | {"fitting_score": "its score"}
COLUMNS |= {"first": "first", "first_score": "score of the first"}
"""Columns of ``failures.csv`` after the query, and their headers."""


def _failures(cell: CellId, study: Study, synthetic: bool) -> Table:
    """The listed failures of a cell."""
    lines = read_failures(Paths.study(cell) / "failures.csv")
    second = next((number for number, line in enumerate(lines) if line["direction"] == "t2i"), 0)
    rows = (
        Row(line["query"], tuple(Cell(line[name]) for name in COLUMNS), rule=0 < number == second)
        for number, line in enumerate(lines)
    )
    counts = f"{study.failures['i2t']:,} image queries and {study.failures['t2i']:,} caption queries failed."
    name = f"{labelled(cell.dataset, synthetic)}, {cell.method}"
    return Table(name, counts, "query", (Group("", tuple(COLUMNS.values())),), tuple(rows))


def failures(entries: Entries) -> list[Table]:
    """One table for each method and dataset, of the first seed that has a study; one without rows if none has.

    Those of the two encoders come last.
    """
    tables = []
    for entry in sorted(entries.values(), key=lambda entry: entry.method == TWO_ENCODERS):
        for run in entry.runs:
            study = Study.read(Paths.study(run.cell) / "study.json")
            if study is not None and study.outcome.status == "ok" and run.record is not None:
                tables.append(_failures(run.cell, study, bool(run.record.data.get("synthetic"))))
                break
    if not tables:
        tables = [Table("no cell has a number", "", "query", (Group("", tuple(COLUMNS.values())),), ())]
    return [replace(tables[0], caption=f"{ABOUT_FAILURES} {tables[0].caption}".strip()), *tables[1:]]


def build(view: View, cells: Mapping[CellId, Sequence[str]], out_dir: Path) -> list[Path]:
    """Write ``peder-measures``, ``peder-claims`` and ``peder-failures`` in every format; nothing without CLIP.

    ``cells`` are those that the study asks, with what their studies no longer agree with.
    """
    if not cells:
        return []
    methods = list(dict.fromkeys(cell.method for cell in cells))
    claims = _Claims(view.name, view.experiment, with_studies(view.entries, cells), methods)
    return [
        *paper_table.render(measures(methods), claims, out_dir),
        *write_tables(claims.title, [claims.table()], view.name, out_dir / "peder-claims"),
        *write_tables(f"Failures, {claims.title}", failures(claims.entries), view.name, out_dir / "peder-failures"),
    ]


def shows(experiment: Experiment) -> Iterator[Shown]:
    """The claims, and the probabilities that ``rsitr.examples.peder`` shows."""
    claimed = [metric for *_, metric, _ in _Claims.CLAIMS]
    yield Shown(
        "peder-claims", places(CLAIMS_KEY, "", claimed), "", differs="claimed without a dataset or a definition"
    )
    printed = places(PROBABILITIES_KEY, "", ["i2t_probability_pct"])
    yield Shown("peder-probabilities", printed, "", differs="of an image that is not named; ours is of another")


TABLE = Declared(
    "peder",
    lambda material: build(material.view, material.studied, material.out),
    "The study of CLIP alone: its measures and claims as published and as measured, and the queries that failed worst.",
    concerns=lambda experiment: concerns(experiment.methods),
    listed=lambda experiment: chain(
        rendered("peder-measures", "long.csv"), rendered("peder-claims"), rendered("peder-failures")
    ),
    shows=shows,
)
