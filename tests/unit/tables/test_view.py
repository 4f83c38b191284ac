"""Which row is the best of a column, and what a row is there for."""

from __future__ import annotations

import pytest

from rsitr.tables.layout import Cell, Group, Row, Table
from rsitr.tables.view import with_roles
from tests.helpers.lab import Records, params

TRAINED = {"parameters": {"total": 9, "trainable": 4}}


@pytest.fixture
def lab(tmp_path):
    return Records(tmp_path)


def put(lab, values):
    """A trained cell on ucm for every value, by method: one for each seed; None for a seed without a record."""
    for method, seeds in values.items():
        for seed, value in enumerate(seeds):
            if value is not None:
                lab.put("ucm", method, seed, value, **TRAINED)


def bold(lab, chosen):
    """The methods whose mR is bold."""
    view = lab.view(chosen)
    return [entry.method for entry in view.of("ucm") if view.value(entry, "mr").bold]


@pytest.mark.parametrize("role", ["ablation", "sweep", "protocol", "control"])
def test_only_a_main_row_is_the_best(lab, role):
    put(lab, {"vse": [40.0], "vse++": [41.0], "vse@tel": [50.0]})
    main = ["ucm"], ["vse", "vse++"], [0]
    assert bold(lab, params(main, (["ucm"], ["vse@tel"], [0], role))) == ["vse++"]
    assert bold(lab, params(main, (["ucm"], ["vse@tel"], [0]))) == ["vse@tel"]


def test_a_row_with_fewer_seeds_than_most_is_not_the_best(lab):
    put(lab, {"vse": [40.0, 41.0, 42.0], "vse++": [43.0, 44.0, 45.0], "swan": [60.0]})
    assert bold(lab, params((["ucm"], ["vse", "vse++"], [0, 1, 2]), (["ucm"], ["swan"], [0]))) == ["vse++"]


def test_a_row_with_more_seeds_than_most_competes_with_them(lab):
    put(lab, {"vse": [40.0], "vse++": [43.0], "swan": [41.0, 42.0, 43.0]})
    chosen = params((["ucm"], ["vse", "vse++"], [0]), (["ucm"], ["swan"], [0, 1, 2]))
    # The mean of swan is 42; had it no rival with as many seeds, it would be the best of one.
    assert bold(lab, chosen) == ["vse++"]
    put(lab, {"vse++": [41.0]})
    assert bold(lab, chosen) == ["swan"]


def test_of_two_numbers_of_seeds_as_frequent_the_larger_counts(lab):
    put(lab, {"vse": [40.0], "galr": [60.0], "vse++": [43.0, 44.0], "swan": [41.0, 42.0]})
    chosen = params((["ucm"], ["vse", "galr"], [0]), (["ucm"], ["vse++", "swan"], [0, 1]))
    assert lab.view(chosen).usual_seeds("ucm") == 2
    assert bold(lab, chosen) == ["vse++"]


def test_seeds_of_other_roles_are_not_counted(lab):
    put(lab, {"vse": [40.0], "vse++": [43.0]})
    chosen = params((["ucm"], ["vse", "vse++"], [0]), (["ucm"], ["a", "b", "c"], [0, 1, 2], "ablation"))
    assert lab.view(chosen).usual_seeds("ucm") == 1
    assert bold(lab, chosen) == ["vse++"]


def test_an_incomplete_row_neither_wins_nor_lowers_the_bar(lab):
    put(lab, {"vse": [40.0, 41.0], "vse++": [43.0, 44.0], "swan": [70.0, None], "galr": [60.0]})
    chosen = params((["ucm"], ["vse", "vse++", "swan"], [0, 1]), (["ucm"], ["galr"], [0]))
    assert bold(lab, chosen) == ["vse++"]


def test_what_is_not_trained_needs_one_seed(lab):
    put(lab, {"vse": [40.0, 41.0], "vse++": [43.0, 44.0]})
    lab.put("ucm", "remoteclip", 0, 60.0, parameters={"total": 9, "trainable": 0})
    assert bold(lab, params((["ucm"], ["vse", "vse++"], [0, 1]), (["ucm"], ["remoteclip"], [0]))) == ["remoteclip"]


def test_one_row_alone_is_the_best_of_nothing(lab):
    put(lab, {"vse": [40.0], "vse@tel": [50.0]})
    assert bold(lab, params((["ucm"], ["vse"], [0]), (["ucm"], ["vse@tel"], [0], "ablation"))) == []


def test_the_role_of_a_method_on_all_datasets(lab):
    view = lab.view(
        params(
            (["ucm", "rsicd"], ["vse"], [0]),
            (["ucm", "rsitmd"], ["vse@tel"], [0], "sweep"),
            (["rsicd"], ["vse@tel"], [0]),
        )
    )
    names = ("vse", "vse@tel", "gone")
    assert [view.role(method) for method in names] == ["main", "main (rsicd), sweep (ucm, rsitmd)", ""]
    assert [view.entry("ucm", method).role for method in names] == ["main", "sweep", None]
    assert view.by_role() == [["vse", "vse@tel"]]


def test_methods_by_role_keep_their_order(lab):
    chosen = params(
        (["ucm"], ["d"], [0], "control"), (["ucm"], ["c", "a"], [0]), (["ucm"], ["e", "b"], [0], "ablation")
    )
    assert lab.view(chosen).by_role() == [["c", "a"], ["e", "b"], ["d"]]


def table(*groups):
    rows = (Row(label, tuple(Cell(f"{label}{place}") for place in range(2))) for label in "ab")
    return Table("t", "", "method", groups, tuple(rows))


def test_a_column_of_roles_is_where_a_row_is_described():
    plain = table(Group("", ("x",)), Group("ucm", ("y",)))
    shown = with_roles(plain, ["main", "sweep"])
    assert shown.columns == ["role", "x", "ucm y"]
    assert [[cell.text for cell in row.cells] for row in shown.rows] == [["main", "a0", "a1"], ["sweep", "b0", "b1"]]
    assert with_roles(plain, ["main", "sweep"], place=1).columns == ["x", "role", "ucm y"]
    # A group of its own, where all columns are of datasets.
    assert with_roles(table(Group("ucm", ("x", "y"))), ["", "sweep"]).groups[0] == Group("", ("role",))


def test_there_is_none_where_all_are_main():
    plain = table(Group("ucm", ("x", "y")))
    assert with_roles(plain, ["main", ""]) is plain
