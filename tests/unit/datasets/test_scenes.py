"""The synthetic datasets: true captions, planted near-duplicates of known truth, equal bytes from equal seeds."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from rsitr.datasets import scenes
from rsitr.datasets.synthetic.description import (
    COVERS,
    MARGIN,
    Item,
    Part,
    Scene,
    course,
    flanks,
    gap,
    is_beside,
    is_on,
    place,
    shore,
    surrounds,
)
from rsitr.datasets.synthetic.drawing import SIZE, Style, draw_scene
from rsitr.datasets.synthetic.grammar import _nouns, captions, keywords
from rsitr.datasets.synthetic.sampling import CLASSES, sample_scene
from rsitr.datasets.synthetic.stamps import STAMPS
from rsitr.errors import DatasetError, ParamsError
from tests.helpers.examples import examples

FEW = ("airport", "bridge", "forest", "parking", "port", "school", "tenniscourt")
CLEAR = Style(gain=(1, 1, 1), contrast=1, haze=0, grain=0)
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
NUMBERS |= {"eleven": 11, "twelve": 12}
COLOURS = ["black", "blue", "brown", "dark", "gray", "green", "orange", "red", "snow-covered", "white", "yellow", "and"]
POSITIONS = {"upper", "lower", "left", "right", "top", "bottom", "center", "diagonally", "middle", "above", "below"}

described = st.builds(
    lambda name, seed: sample_scene(name, np.random.default_rng(seed)), st.sampled_from(CLASSES), st.integers(0, 10**6)
)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``scenes-a`` and, twice, ``scenes-b``, of seven classes only; with seven classes every transformation occurs."""
    folder = tmp_path_factory.mktemp("scenes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "CLASSES", FEW)
        for name, target in (("scenes-a", "a"), ("scenes-b", "b"), ("scenes-b", "again")):
            scenes.generate(name, folder / target)
    return folder


def entries(root: Path) -> dict[str, dict]:
    images = json.loads((root / "dataset.json").read_text(encoding="utf-8"))["images"]
    return {entry["filename"]: entry for entry in images}


def truth(root: Path) -> list[dict[str, str]]:
    with (root / "duplicates.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


# --- splits and the plan of near-duplicates


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("scenes-a", (216, 54, 90)), ("scenes-b", (144, 36, 60)), ("scenes-c", (144, 36, 60))],
)
def test_splits_are_60_15_25_and_hold_every_class(name: str, sizes: tuple[int, int, int]) -> None:
    slots = scenes._plan(name, seed=3)
    for split, size in zip(("train", "val", "test"), sizes, strict=True):
        counts = Counter(slot.class_name for slot in slots if slot.split == split)
        assert sum(counts.values()) == size
        assert set(counts) == set(CLASSES)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert [slot.index for slot in slots] == list(range(sum(sizes)))
    assert len({slot.file for slot in slots}) == sum(sizes)


@given(seed=st.integers(0, 10**6))
@examples(10)
def test_no_image_takes_part_in_two_pairs(seed: int) -> None:
    plans = {name: scenes._plan(name, seed) for name in scenes._VARIANTS}
    taking_part = Counter()
    for name, slots in plans.items():
        for slot in slots:
            if slot.original is not None:
                taking_part.update([(name, slot.index), (slot.original.dataset, slot.original.index)])
    assert set(taking_part.values()) == {1}


def test_pairs_leak_from_train_to_test_inside_a_set_and_both_ways_across_sets() -> None:
    split_of = {name: [slot.split for slot in scenes._plan(name, 0)] for name in scenes._VARIANTS}
    found = Counter(
        (slot.original.dataset, split_of[slot.original.dataset][slot.original.index], name, slot.split)
        for name in scenes._VARIANTS
        for slot in scenes._plan(name, 0)
        if slot.original is not None
    )
    assert found == {
        ("scenes-a", "train", "scenes-a", "test"): 14,
        ("scenes-b", "train", "scenes-b", "test"): 10,
        ("scenes-c", "train", "scenes-c", "test"): 10,
        ("scenes-a", "train", "scenes-b", "test"): 5,
        ("scenes-a", "test", "scenes-b", "train"): 5,
        ("scenes-a", "train", "scenes-c", "test"): 5,
        ("scenes-a", "test", "scenes-c", "train"): 5,
    }


@pytest.mark.parametrize("name", ["scenes-a", "scenes-b", "scenes-c"])
def test_every_transformation_is_planted(name: str) -> None:
    copies = [slot for slot in scenes._plan(name, 0) if slot.original and slot.original.dataset == name]
    assert {slot.transformation for slot in copies} == set(scenes.TRANSFORMATIONS)


# --- files


def test_equal_arguments_give_equal_bytes(generated: Path) -> None:
    first, second = (
        {f.relative_to(r): f.read_bytes() for f in r.rglob("*") if f.is_file()}
        for r in (generated / "b", generated / "again")
    )
    assert len(first) == 70 + 2
    assert first == second


def test_seeds_and_sets_differ() -> None:
    def first_caption(name: str, seed: int) -> list[str]:
        slot = scenes._plan(name, seed)[40]
        scene = sample_scene(slot.class_name, scenes._rng(seed, slot, "scene"))
        return captions(scene, scenes._rng(seed, slot, "captions"))

    assert len({tuple(first_caption(name, seed)) for name in ("scenes-a", "scenes-b") for seed in (0, 1)}) == 4


def test_annotation_and_files_belong_together(generated: Path) -> None:
    images = entries(generated / "a")
    assert {path.name for path in (generated / "a" / "images").iterdir()} == set(images)
    assert len(images) == 7 * 15
    sentids = [sentid for entry in images.values() for sentid in entry["sentids"]]
    assert sentids == list(range(5 * len(images)))
    for entry in images.values():
        assert [sentence["sentid"] for sentence in entry["sentences"]] == entry["sentids"]
        assert {sentence["imgid"] for sentence in entry["sentences"]} == {entry["imgid"]}


def test_parse_yields_the_generated_rows(generated: Path) -> None:
    dataset = scenes.ScenesB()
    rows = list(dataset.parse(generated / "b"))
    images = entries(generated / "b")
    assert dataset.synthetic
    assert [row.image_id for row in rows] == list(images)
    for row in rows:
        entry = images[row.image_id]
        assert (generated / "b" / row.path).is_file()
        assert (row.split, row.class_name, row.keywords) == (entry["split"], entry["classname"], entry["keywords"])
        assert row.captions == [sentence["raw"] for sentence in entry["sentences"]]


@pytest.mark.parametrize("transformation", scenes.TRANSFORMATIONS)
def test_planted_images_are_what_the_truth_says(generated: Path, transformation: str) -> None:
    folders = {"scenes-a": generated / "a" / "images", "scenes-b": generated / "b" / "images"}
    pairs = [row for row in truth(generated / "a") + truth(generated / "b") if row["transformation"] == transformation]
    assert {(row["dataset"], row["of_dataset"]) for row in pairs} == {
        ("scenes-a", "scenes-a"),
        ("scenes-b", "scenes-b"),
        ("scenes-b", "scenes-a"),
    }
    for row in pairs:
        copy, original = folders[row["dataset"]] / row["image"], folders[row["of_dataset"]] / row["of_image"]
        ours, theirs = pixels(copy), pixels(original)
        if transformation == "exact":
            assert copy.read_bytes() == original.read_bytes()
        elif transformation == "jpeg":
            assert Image.open(copy).format == "JPEG"
            assert 0 < np.abs(ours - theirs).mean() < 12
        elif transformation == "resize":
            assert ours.shape == (96, 96, 3)
            assert np.abs(ours.mean((0, 1)) - theirs.mean((0, 1))).max() < 1
        elif transformation == "crop":
            middle = Image.fromarray(theirs[8:120, 8:120].astype(np.uint8)).resize((128, 128), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(ours, np.asarray(middle))
        elif transformation == "flip":
            np.testing.assert_array_equal(ours, theirs[:, ::-1])
        elif transformation == "rotate":
            np.testing.assert_array_equal(ours, np.rot90(theirs))
        else:
            np.testing.assert_allclose(ours, np.minimum(theirs * 1.25, 255), atol=1)


def test_turned_and_cropped_copies_name_no_position(generated: Path) -> None:
    images = entries(generated / "b")
    moved = [row["image"] for row in truth(generated / "b") if row["transformation"] in ("flip", "rotate", "crop")]
    assert moved
    for name in moved:
        for sentence in images[name]["sentences"]:
            assert POSITIONS.isdisjoint(sentence["raw"].split())


def test_generation_replaces_a_generated_folder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "CLASSES", ("desert",))
    root = tmp_path / "data"
    root.mkdir()
    (root / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not a generated dataset"):
        scenes.generate("scenes-c", root)
    assert [path.name for path in root.iterdir()] == ["thesis.txt"]
    (root / "thesis.txt").unlink()
    scenes.generate("scenes-c", root, seed=1)
    before = (root / "dataset.json").read_bytes()
    scenes.generate("scenes-c", root, seed=2)
    assert (root / "dataset.json").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_generation_leaves_the_one_of_another_host_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "CLASSES", ("desert",))
    other = tmp_path / f".data.{os.getpid()}"  # process numbers are equal on different hosts
    other.mkdir()
    scenes.generate("scenes-c", tmp_path / "data")
    assert sorted(tmp_path.iterdir()) == [other, tmp_path / "data"]


def test_a_failed_generation_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(scenes, "_encode", fail)
    with pytest.raises(OSError, match="disk full"):
        scenes.generate("scenes-a", tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="scenes-a, scenes-b, scenes-c"):
        scenes.generate("scenes-d", tmp_path / "data")


# --- geometry: the facts that captions state


def at(*spots: tuple[float, float], kind: str = "tree", size: float = 0.04) -> Part:
    return Part(kind, "green", tuple(Item(x, y, size) for x, y in spots))


def band(x: float, y: float, degrees: float, kind: str = "road") -> Part:
    return Part(kind, "", (Item(x, y, 0.05, math.radians(degrees)),))


@pytest.mark.parametrize(
    ("spots", "expected"),
    [
        ([(0.2, 0.2)], "upper left"),
        ([(0.8, 0.9)], "lower right"),
        ([(0.5, 0.5)], "center"),
        ([(0.2, 0.5)], "left"),
        ([(0.5, 0.8)], "bottom"),
        ([(0.5, 0.1)], "top"),
        ([(0.2, 0.1), (0.3, 0.9)], "left"),
        ([(0.1, 0.3), (0.9, 0.2)], "top"),
        ([(0.2, 0.2), (0.8, 0.8)], ""),
    ],
)
def test_place(spots: list[tuple[float, float]], expected: str) -> None:
    assert place(at(*spots)) == expected


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(0, "from left to right"), (185, "from left to right"), (92, "from top to bottom"), (-45, "diagonally")],
)
def test_course(degrees: float, expected: str) -> None:
    assert course(band(0.5, 0.5, degrees)) == expected


def test_crossing_roads_have_no_common_course() -> None:
    crossing = Part("road", "", band(0.5, 0.5, 0).items + band(0.5, 0.5, 90).items)
    assert course(crossing) == ""


@pytest.mark.parametrize(
    ("inland_degrees", "expected"),
    [(0, "left"), (180, "right"), (90, "top"), (270, "bottom"), (45, "upper left"), (225, "lower right")],
)
def test_the_sea_fills_the_side_away_from_the_land(inland_degrees: float, expected: str) -> None:
    assert shore(Part("sea", "blue", (Item(0.5, 0.5, 0, math.radians(inland_degrees)),))) == expected


def test_gap_of_discs_bands_and_shores() -> None:
    tree = Item(0.5, 0.3, 0.04)
    coast = Item(0.2, 0.5, 0, 0.0)  # water where x < 0.2
    assert gap("tree", tree, "tree", Item(0.5, 0.6, 0.06)) == pytest.approx(0.2)
    assert gap("tree", tree, "road", Item(0.9, 0.5, 0.05, 0.0)) == pytest.approx(0.2 - 0.05 - 0.04)
    assert gap("tree", tree, "sea", coast) == pytest.approx(0.3 - 0.04)
    assert gap("ship", Item(0.1, 0.5, 0.03), "sea", coast) == pytest.approx(0.1 - 0.03)
    assert gap("ship", tree, "sea", coast) < 0


def test_beside_needs_a_neighbour_and_no_straggler() -> None:
    road = band(0.5, 0.5, 0)  # edges at y = 0.45 and 0.55
    assert is_beside(at((0.2, 0.38), (0.4, 0.2)), road)
    assert not is_beside(at((0.2, 0.25)), road)
    assert not is_beside(at((0.2, 0.38), (0.4, 0.05)), road)
    assert not is_beside(at((0.2, 0.5)), road)


def test_flanking_needs_a_third_on_each_side() -> None:
    road = band(0.5, 0.5, 90)  # x = 0.45 .. 0.55
    left, right = (0.35, 0.2), (0.65, 0.8)
    assert flanks(at(left, right, (0.35, 0.6)), road)
    assert not flanks(at(left, (0.35, 0.5)), road)
    assert not flanks(at(left, (0.35, 0.4), (0.35, 0.6), right), road)
    assert not flanks(at(left, (0.95, 0.8)), road)


def test_surrounding_needs_six_of_eight_directions() -> None:
    pond = at((0.5, 0.5), kind="pond", size=0.1)
    around = [(0.5 + 0.2 * math.cos(k * math.pi / 4), 0.5 + 0.2 * math.sin(k * math.pi / 4)) for k in range(8)]
    assert surrounds(at(*around), pond)
    assert surrounds(at(*around[:6]), pond)
    assert not surrounds(at(*around[:5], around[0]), pond)
    assert not surrounds(at(*around), at((0.5, 0.5), (0.9, 0.9), kind="pond", size=0.1))


def test_only_vehicles_are_on_a_road() -> None:
    road = band(0.5, 0.5, 0)
    assert is_on(at((0.3, 0.52), (0.8, 0.47), kind="car"), road)
    assert not is_on(at((0.3, 0.52), (0.8, 0.3), kind="car"), road)
    assert not is_on(at((0.3, 0.52), kind="bridge"), road)


# --- descriptions


def extent(part: Part) -> np.ndarray:
    """All outline points of the objects of a part."""
    outlines = []
    for item in part.items:
        circle = [(math.cos(t), math.sin(t)) for t in np.linspace(0, 2 * np.pi, 24)]
        points = [p for shape in STAMPS[part.kind] for p in shape.points] if part.kind in STAMPS else circle
        turn = np.array([[math.cos(item.angle), math.sin(item.angle)], [-math.sin(item.angle), math.cos(item.angle)]])
        outlines.append(np.array(points) * item.size @ turn + [item.x, item.y])
    return np.concatenate(outlines)


@given(scene=described)
@examples(150)
def test_a_centre_crop_cuts_no_object(scene: Scene) -> None:
    for part in scene.parts:
        if part.is_object:
            assert extent(part).min() >= MARGIN - 1e-9
            assert extent(part).max() <= 1 - MARGIN + 1e-9


@given(scene=described)
@examples(100)
def test_nouns_tell_the_kinds_of_a_scene_apart(scene: Scene) -> None:
    kinds = [part.kind for part in scene.parts]
    assert len(set(kinds)) == len(kinds)
    nouns = [noun for part in scene.parts for noun in _nouns(part)]
    assert len(set(nouns)) == len(nouns)
    assert (scene.subject, *scene.others) == tuple(sorted(scene.parts, key=lambda part: part is not scene.subject))


@pytest.mark.parametrize("kind", STAMPS)
def test_stamps_stay_inside_their_circle(kind: str) -> None:
    reach = max(math.hypot(u, v) for shape in STAMPS[kind] for u, v in shape.points)
    assert 0.8 < reach <= 1.01


# --- captions


def named(part: Part, text: str) -> list[tuple[str, list[str]]]:
    """Every mention of a part: the words from its count (or article) on to the adjectives before the noun."""
    nouns = "|".join(re.escape(noun) + "(?:e?s)?" for noun in sorted(_nouns(part), key=len, reverse=True))
    adjectives = "|".join([*COLOURS, "small", "little", "large", "big"])
    counts = "|".join([*NUMBERS, "one", "an?", "several", "some", "a few", "many", "lots of", "a number of"])
    pattern = rf"(?<!\S)({counts}) ((?:(?:{adjectives}) )*)(?:{nouns})(?!\S)"
    return [(match[1], match[2].split()) for match in re.finditer(pattern, text)]


@given(scene=described, seed=st.integers(0, 1000))
@example(scene=sample_scene("beach", np.random.default_rng(91)), seed=91)  # tells of nothing but the ocean
@examples(150)
def test_captions_tell_true_counts_colours_and_sizes(scene: Scene, seed: int) -> None:
    said = captions(scene, np.random.default_rng(seed))
    assert len(set(said)) == 5
    mentions = 0
    for part in scene.parts:
        for count, adjectives in (mention for text in said for mention in named(part, text)):
            mentions += 1
            if part.kind not in COVERS:
                exact = {"one": 1, "a": 1, "an": 1} | NUMBERS
                vague = {"several": (3, 5), "some": (3, 5), "a few": (3, 5)}
                low, high = (exact[count],) * 2 if count in exact else vague.get(count, (6, 18))
                assert low <= len(part.items) <= high, (count, part)
            shown = (
                {"black": "dark"} if part.kind == "pond" else {"white": "snow-covered"} if part.kind == "ridges" else {}
            )
            colour = [word for word in adjectives if word not in ("small", "little", "large", "big")]
            assert not colour or " ".join(colour) == shown.get(part.colour, part.colour)
            sizes = {"small": "small", "little": "small", "large": "large", "big": "large"}
            assert all(sizes[word] == part.size for word in adjectives if word in sizes)
    nouns = [noun for part in scene.parts for noun in _nouns(part)]
    # "The ocean" has no count, and a scene without parts is told as a whole.
    uncounted = any(text.startswith(("this", "it", "here")) or any(noun in text for noun in nouns) for text in said)
    assert mentions > 0 or uncounted


@given(scene=described, seed=st.integers(0, 1000))
@examples(50)
def test_captions_without_positions_name_none(scene: Scene, seed: int) -> None:
    for text in captions(scene, np.random.default_rng(seed), positions=False):
        assert POSITIONS.isdisjoint(text.split())


@given(scene=described, seed=st.integers(0, 1000))
@examples(50)
def test_keywords_start_with_the_subject(scene: Scene, seed: int) -> None:
    words = keywords(scene, np.random.default_rng(seed))
    assert 1 <= len(words) == len(set(words)) <= 5
    assert any(noun in words[0] for noun in _nouns(scene.subject))


def test_a_scene_with_one_fact_of_each_sort_is_told_as_such() -> None:
    scene = Scene(
        "airport",
        "asphalt",
        (
            Part("plane", "white", (Item(0.2, 0.2, 0.05), Item(0.3, 0.3, 0.05), Item(0.2, 0.35, 0.05)), "small"),
            Part("terminal", "red", (Item(0.7, 0.7, 0.1),)),
        ),
        main=0,
    )
    said = {text for seed in range(400) for text in captions(scene, np.random.default_rng(seed))}
    assert "three small white planes are parked on the dark asphalt ." in said
    assert "three little white airplanes are in the upper left part of the picture ." in said
    assert "an airport with three small white aircraft and a red terminal ." in said
    assert "this is an airport ." in said
    assert not any(word in text for text in said for word in ("next to", "near", "beside", "close to"))


# --- drawing


def drawn(*parts: Part, ground: str = "asphalt") -> np.ndarray:
    scene = Scene("airport", ground, parts, main=0)
    return np.asarray(draw_scene(scene, CLEAR, np.random.default_rng(5))).astype(int)


def test_an_object_changes_the_picture_where_it_is_and_nowhere_else() -> None:
    tank = Part("tank", "white", (Item(0.25, 0.75, 0.1),))
    changed = np.argwhere((drawn(tank) != drawn()).any(axis=2))  # rows y, columns x
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    assert 0.63 * SIZE <= top <= 0.66 * SIZE
    assert 0.13 * SIZE <= left <= 0.16 * SIZE
    # The shadow falls to the lower right, by 0.01 of the side.
    assert 0.84 * SIZE <= bottom <= 0.88 * SIZE
    assert 0.34 * SIZE <= right <= 0.38 * SIZE


@pytest.mark.parametrize(
    ("colour", "holds"),
    [
        ("red", lambda r, g, b: r > 1.5 * max(g, b)),
        ("blue", lambda r, g, b: b > 1.3 * max(r, g)),
        ("green", lambda r, g, b: g > 1.3 * max(r, b)),
        ("white", lambda r, g, b: min(r, g, b) > 200),
        ("gray", lambda r, g, b: max(r, g, b) - min(r, g, b) < 15 and 90 < g < 190),
    ],
)
def test_an_object_has_the_colour_that_is_said(colour: str, holds: object) -> None:
    roof = drawn(Part("building", colour, (Item(0.5, 0.5, 0.3),)))[int(0.6 * SIZE), int(0.42 * SIZE)]
    assert holds(*roof)


@pytest.mark.parametrize("style", [variant.style for variant in scenes._VARIANTS.values()])
@pytest.mark.parametrize("name", CLASSES)
def test_every_class_draws_in_every_style(name: str, style: Style) -> None:
    scene = sample_scene(name, np.random.default_rng(1))
    picture = draw_scene(scene, style, np.random.default_rng(2))
    assert picture.size == (SIZE, SIZE)
    assert picture.mode == "RGB"
    assert np.asarray(picture).std() > 8
