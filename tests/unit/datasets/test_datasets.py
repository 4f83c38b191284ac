"""The real datasets in every layout they come in, and the mirror's copies where they are at hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from rsitr.datasets import get_dataset, registry
from rsitr.datasets.rsicd import read_class_list
from rsitr.errors import DatasetError, ParamsError


def write(root: Path, annotation: str, *files: str) -> Path:
    """An annotation of one sentence for each file, in turn train, val and test."""
    entries = [
        {"filename": name, "split": ("train", "val", "test")[number % 3], "sentences": [{"raw": f"sentence {number}"}]}
        for number, name in enumerate(files)
    ]
    path = root / annotation
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"dataset": "x", "images": entries}), encoding="utf-8")
    return root


def facts(name: str, root: Path) -> list[tuple[str, str]]:
    return [(row.path, row.class_name) for row in get_dataset(name).parse(root)]


@pytest.mark.parametrize("annotation", ["UCM_captions/dataset.json", "dataset.json"], ids=["official", "mirror"])
def test_ucm_classes_follow_from_the_number(annotation, tmp_path):
    write(tmp_path, annotation, "1.tif", "100.tif", "101.tif", "2001.tif", "2100.tif")
    assert facts("ucm", tmp_path) == [
        ("UCM_captions/imgs/1.tif", "agricultural"),
        ("UCM_captions/imgs/100.tif", "agricultural"),
        ("UCM_captions/imgs/101.tif", "airplane"),
        ("UCM_captions/imgs/2001.tif", "tenniscourt"),
        ("UCM_captions/imgs/2100.tif", "tenniscourt"),
    ]


@pytest.mark.parametrize("name", ["0.tif", "2101.tif", "beach_1.tif"])
def test_ucm_has_no_other_numbers(name, tmp_path):
    with pytest.raises(DatasetError, match=r"images\[0\]"):
        facts("ucm", write(tmp_path, "dataset.json", name))


def rsicd_list(root: Path, layout: str) -> None:
    """The class list, as the authors' archive unpacks and as the mirror has it."""
    if layout == "mirror":
        lines = "filename,class\n00001.jpg,Storage Tanks\nairport_1.jpg,airport\n"
        (root / "txtclasses_rsicd.csv").write_text(lines, encoding="utf-8")
        return
    folder = root / "txtclasses_rsicd"
    folder.mkdir()
    (folder / "Storage Tanks.txt").write_text("00001.jpg\n\n", encoding="utf-8")
    (folder / "airport.txt").write_text("airport_1.jpg\r\n", encoding="utf-8", newline="")


@pytest.mark.parametrize("layout", ["official", "mirror"])
def test_rsicd_numbers_get_their_class_from_the_list(layout, tmp_path):
    rsicd_list(tmp_path, layout)
    write(tmp_path, "dataset_rsicd.json", "00001.jpg", "airport_1.jpg", "bare_land_7.jpg")
    assert read_class_list(tmp_path) == {"00001.jpg": "storagetanks", "airport_1.jpg": "airport"}
    assert facts("rsicd", tmp_path) == [
        ("RSICD_images/00001.jpg", "storagetanks"),
        ("RSICD_images/airport_1.jpg", "airport"),
        ("RSICD_images/bare_land_7.jpg", "bare_land"),
    ]
    published = [row.published_class for row in registry()["rsicd"]().parse(tmp_path)]
    assert published == ["00001", "airport", "bare_land"]


def test_rsicd_without_a_class_list(tmp_path):
    with pytest.raises(DatasetError, match="921 images would have no class"):
        facts("rsicd", write(tmp_path, "dataset_rsicd.json", "00001.jpg"))


@pytest.mark.parametrize(
    ("annotation", "folder"),
    [
        ("RSITMD/dataset_RSITMD.json", "RSITMD/images"),
        ("dataset_RSITMD.json", "images"),
        ("dataset_rsitmd.json", "images"),
    ],
    ids=["official", "official without its folder", "mirror"],
)
def test_rsitmd(annotation, folder, tmp_path):
    (tmp_path / folder).mkdir(parents=True)
    write(tmp_path, annotation, "airport_2.tif", "rivers_10.tif")
    assert facts("rsitmd", tmp_path) == [(f"{folder}/airport_2.tif", "airport"), (f"{folder}/rivers_10.tif", "rivers")]


@pytest.mark.parametrize("annotation", ["Sydney_captions/dataset.json", "dataset.json"], ids=["official", "mirror"])
def test_sydney_states_no_class(annotation, tmp_path):
    write(tmp_path, annotation, "1.tif")
    assert facts("sydney", tmp_path) == [("Sydney_captions/imgs/1.tif", "")]


@pytest.mark.parametrize("name", ["ucm", "rsitmd", "sydney"])
def test_without_an_annotation_the_message_says_what_to_do(name, tmp_path):
    with pytest.raises(DatasetError, match=r"is missing: fetch the dataset again"):
        list(get_dataset(name).parse(tmp_path))


def test_unknown_dataset_lists_the_known_ones():
    with pytest.raises(ParamsError, match=r"unknown dataset 'atlantis': the known ones are aid, nwpu, "):
        get_dataset("atlantis")


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("name", "train", "val", "test", "classes"),
    [
        ("ucm", 1680, 210, 210, 21),
        ("rsicd", 8734, 1094, 1093, 31),
        ("rsitmd", 3432, 859, 452, 33),
        ("sydney", 497, 58, 58, 1),
    ],
)
def test_published_counts_in_the_mirror(name, train, val, test, classes, mirror):
    rows = list(get_dataset(name).parse(mirror / name))
    assert Counter(row.split for row in rows) == {"train": train, "val": val, "test": test}
    assert len({row.image_id for row in rows}) == len(rows) == train + val + test
    found = {row.class_name for row in rows}
    assert len(found) == classes
    assert not [label for label in found if any(character.isdigit() for character in label)]
    assert all(row.captions for row in rows)
