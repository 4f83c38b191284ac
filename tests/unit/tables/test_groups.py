"""Groups of rows that significance cannot tell apart, by hand and against the tables' own comparisons."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsitr.datasets.splits import SplitData
from rsitr.retrieval.rank_files import SplitRanks, write_ranks
from rsitr.retrieval.recall import Ranks
from rsitr.tables.entries import Entry
from rsitr.tables.groups import compare, letters
from rsitr.tables.significance import Differences, recorded
from tests.helpers.lab import Records, params


def test_letters_by_hand() -> None:
    """The example of overlapping groups: a and c differ, b is like both, d is unlike all."""
    apart = [("a", "c"), ("a", "d"), ("b", "d"), ("c", "d")]
    assert letters("abcd", apart) == {"a": "A", "b": "AB", "c": "B", "d": "C"}
    assert letters("ab", []) == {"a": "A", "b": "A"}
    assert letters("", []) == {}


@given(st.integers(1, 7), st.randoms(use_true_random=False))
def test_two_share_a_letter_unless_they_are_apart(count: int, random) -> None:
    pairs = [pair for pair in combinations(range(count), 2) if random.random() < 0.4]
    found = letters(range(count), pairs)
    for pair in combinations(range(count), 2):
        assert bool({*found[pair[0]]} & {*found[pair[1]]}) == (pair not in pairs)
    assert all(found.values())


def write(records: Records, method: str, seed: int, strength: float, images: int = 60) -> None:
    generator = np.random.default_rng([len(method), seed])
    records.put("ucm", method, seed, parameters={"trainable": 1})
    ranks = [np.maximum(1, generator.poisson(12 / strength, size)) for size in (images, 5 * images)]
    plain = Ranks(*ranks)
    counted = Ranks(*(np.maximum(1, each - 1) for each in ranks))
    names = [f"{number}.tif" for number in range(images)]
    image_of = np.repeat(np.arange(images), 5)
    split = SplitData(names, [], [], [""] * len(image_of), image_of, ())
    write_ranks(records.cells / f"lab/ucm/{method}/{seed}/ranks.parquet", split, SplitRanks(plain, counted, plain))


@pytest.fixture
def entries(tmp_path: Path) -> dict[str, Entry]:
    records = Records(tmp_path)
    for method, strength in (("vse", 1.0), ("vse++", 1.0), ("swan", 4.0)):
        for seed in (0, 1):
            write(records, method, seed, strength)
    for method, images in (("chance", 60), ("clip", 30)):
        write(records, method, 0, 0.5, images)
    records.put("ucm", "mtfn", 0, 50.0)
    chosen = params(
        (["ucm"], ["vse", "vse++", "swan", "galr"], [0, 1]), (["ucm"], ["chance", "clip", "mtfn"], [0], "control")
    )
    return {entry.method: entry for entry in records.view(chosen).of("ucm")}


def test_pairs_are_those_of_the_tables_and_letters_follow(entries: dict[str, Entry]) -> None:
    found = compare([*entries.values()], 2)
    for prefix in ("", "dup_"):
        pairs = {(pair.first, pair.second): pair for pair in found[prefix].pairs}
        assert {*pairs} == {*combinations(["vse", "vse++", "swan", "chance"], 2)}
        assert {pair.family for pair in pairs.values()} == {3}
        for names, pair in pairs.items():
            expected = Differences({0: tuple(recorded(entries[name], prefix) for name in names)}).found[0]
            np.testing.assert_allclose(pair.found, expected, atol=1e-9)
            assert pair.p == min(1.0, pair.p)
        assert found[prefix].letters == {"swan": "A", "vse++": "B", "vse": "B"}
        low, high = found[prefix].intervals["vse"]
        assert low < np.mean(entries["vse"].values(f"{prefix}mr")) < high


def test_what_is_not_compared_has_a_reason(entries: dict[str, Entry]) -> None:
    left_out = compare([*entries.values()], 2)[""].left_out
    assert left_out["galr"] == "not run yet"
    assert left_out["clip"] == "it was tested on other images or captions than most rows of the dataset"
    assert "ranks.parquet" in left_out["mtfn"]
    assert compare([], 0)[""].pairs == []
