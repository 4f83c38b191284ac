"""Every number that the papers print is next to a cell of `paper` or a measure, or has one reason why it is neither."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rsitr.methods.catalog import schemas
from rsitr.params import Params, load_params
from rsitr.records.cell import UNCLAIMED
from rsitr.tables.coverage import ABSENT, STATUSES, Covered, Value, claimed, cover
from rsitr.tables.declared import registry
from rsitr.tables.not_rebuilt import ELSEWHERE, KINDS, not_rebuilt, reasons
from rsitr.tables.published import RECALLS, load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def paper(params: Params) -> dict[Value, Covered]:
    return cover(params, "paper")


def test_every_value_is_exactly_one_thing(paper: dict[Value, Covered]) -> None:
    frame = load()
    assert list(paper) == list(zip(frame.index, frame["metric"], strict=True))
    assert len(paper) == 1566
    assert {covered.status for covered in paper.values()} <= {*STATUSES} - {ABSENT}


def test_what_is_next_to_a_value_is_there_and_a_reason_is_in_words(paper: dict[Value, Covered], params: Params) -> None:
    cells = {cell.method for cell in params.cells("paper")}
    tables = {name for table in registry().values() for name in table.files(params["paper"])}
    for value, covered in paper.items():
        if covered.status in KINDS:
            assert (covered.ours, covered.table, len(covered.why)) == ("", "", 1), value
        else:
            assert covered.ours in cells or covered.ours == covered.table, value
            # The probabilities are written with the pictures of the study.
            assert f"{covered.table}.md" in tables or covered.table == "peder-probabilities", value
            assert bool(covered.why) == (covered.status == "not comparable"), value
        assert all(covered.why)


def test_no_reason_is_given_for_what_a_cell_stands_for(paper: dict[Value, Covered], params: Params) -> None:
    """A line whose rows have become cells has to go."""
    used = {reasons()[place] for (place, _), covered in paper.items() if covered.status in KINDS}
    assert used == {*not_rebuilt()}
    there = {reasons()[place].kind for place, _ in claimed(params, "paper") if place in reasons()}
    assert there <= {*ELSEWHERE}


def claims(method: str) -> bool:
    """Whether a method names a published row for its configuration."""
    name, _, variant = method.partition("@")
    known = schemas()[name]["differences"] if name in schemas() else {}
    return variant in known and UNCLAIMED not in known[variant]


def test_one_of_ours_at_most_claims_a_row(params: Params) -> None:
    """Whatever the number of tables that show it, and of methods that they show next to it."""
    found: dict[Value, set[str]] = {}
    for table in registry().values():
        for shown in table.shows(params["paper"]):
            if shown.method and not claims(shown.method):
                continue
            for value in shown.values:
                found.setdefault(value, set()).add(shown.method or shown.table)
    assert {value: ours for value, ours in found.items() if len(ours) > 1} == {}


def test_the_baseline_of_pir_clip_is_fine_tuned_clip(paper: dict[Value, Covered]) -> None:
    """PIR's Table III, row by row."""
    frame = load()
    rows = frame[frame["table"].eq("table3") & frame["method"].eq("pir-clip") & frame["metric"].eq("mr")]
    assert {row.variant: paper[row.Index, "mr"].ours for row in rows.itertuples()} == {
        "CLIP-baseline": "clip-ft",
        "+S-PAE": "pir-clip@no-affiliation",
        "+L_A": "pir-clip@affiliation",
        "+S-PAE+L_A": "pir-clip",
    }


def test_copied_rows_are_copies_of_the_row_that_is_named() -> None:
    frame = load()
    wide = frame[frame["metric"].isin(RECALLS)].pivot_table(
        index=["paper", "table", "method", "dataset"], columns="metric", values="value", aggfunc=list
    )
    copied = {place: line for place, line in reasons().items() if line.kind == "copied"}
    assert len(copied) == 18
    for place, line in copied.items():
        dataset = frame.loc[[place], "dataset"].iloc[0]
        original = line.reason.split()[2]
        assert f"the row {original} of AMFMN's Table II" in line.reason
        copy = wide.loc[line.paper, line.table, line.method, dataset]
        assert copy.tolist() == wide.loc["amfmn2022", "table2", original.rstrip(","), dataset].tolist(), place


def test_counts_of_a_status_are_those_of_its_reasons(paper: dict[Value, Covered]) -> None:
    """Values of rows that nobody can rebuild, from the papers' tables by hand: rows times seven, and sizes."""
    counted = Counter(covered.status for covered in paper.values())
    assert {kind: counted[kind] for kind in KINDS} == {
        "internals": 7 * (1 + 3 + 3 + 4),  # kcr; sam and mafa-net on three datasets; fbclm
        "regions": 2 * (2 * 7 + 1),  # camera and dove
        "validation": 7,
        "copied": 7 * 18,
        "contradicted": 1,
    }
