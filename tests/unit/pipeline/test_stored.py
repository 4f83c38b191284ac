"""The graph of an experiment whose files are in a storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsitr.datasets.imported import imported
from rsitr.errors import ParamsError
from rsitr.params import load_params
from rsitr.pipeline import stored
from rsitr.pipeline.stored import Stored
from rsitr.pipeline.targets import Graph
from rsitr.records.paths import Paths

CELL = "cells/tiny/scenes-b/vse/0"


@pytest.fixture
def graph(project: Path) -> Stored:
    return Stored(load_params().model_dump())


def test_a_job_names_every_image_that_it_reads(graph: Stored) -> None:
    clean = "data/canonical/scenes-b/clean-official-none.parquet"
    assert clean in graph.inputs_of(CELL)
    assert "data/extracted/scenes-b" in graph.inputs_of(CELL)
    assert "data/extracted/scenes-b" not in Graph(load_params().model_dump()).inputs_of(CELL)


def test_a_clean_table_of_a_joint_protocol_tells_of_the_images_of_all_members(graph: Stored) -> None:
    assert graph.with_images("data/canonical/rsicd/clean-ret-2-copies.parquet", "data/joint/ret-2-copies.parquet")[
        2:
    ] == [
        "data/extracted/rsicd",
        "data/extracted/rsitmd",
    ]


def test_what_is_here_says_nothing(graph: Stored) -> None:
    assert graph.needed == graph.specs
    assert (graph.forced, graph.waiting, graph.without_weights, graph.unfetched) == ([], {}, [], [])
    assert graph.site == "results/site/tiny"


def test_what_snakemake_remembers_follows_params_and_code(graph: Stored) -> None:
    other = Stored(load_params().model_dump())
    spec = other.specs[CELL]
    assert other.expected(CELL) == graph.expected(CELL)
    other.specs[CELL] = spec.model_copy(update={"code": spec.code | {"trained": "0" * 64}})
    assert other.expected(CELL) != graph.expected(CELL)


def test_data_that_only_this_machine_has_is_refused_on_others(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "imported", lambda: {"scenes-b": None})
    assert imported() == {}
    with pytest.raises(ParamsError, match="scenes-b was imported"):
        Stored(load_params().model_dump(), local=False)
    Stored(load_params().model_dump())


def test_tables_name_every_file_next_to_their_records(graph: Stored) -> None:
    folder = Paths.cell(graph.specs[CELL].cell)
    assert {path for path in map(Path, graph.results("cells")) if path.parent == folder} == {
        folder / name for name in ("cell.json", "history.csv", "ranks.parquet", "top.parquet")
    }
