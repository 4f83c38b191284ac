"""What every registered dataset keeps to."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path, PurePosixPath

import pytest

from rsitr.datasets import get_dataset, registry
from rsitr.datasets.base import Row
from rsitr.datasets.fetch import resolve
from rsitr.datasets.karpathy import SPLITS
from rsitr.errors import DatasetError
from rsitr.params import NAME

NAMES = list(registry())
FETCHED = [name for name in NAMES if not registry()[name].synthetic]


@pytest.fixture(params=NAMES)
def dataset(request):
    return get_dataset(request.param)


def test_facts(dataset):
    assert re.fullmatch(NAME, dataset.name)
    assert dataset.title.strip()
    assert len(dataset.citation) > 20
    assert inspect.getdoc(type(dataset))
    assert len(inspect.getsource(type(dataset)).splitlines()) <= 150


def test_real_datasets_cite_a_publication(dataset):
    if not dataset.synthetic:
        assert re.search(r"\b(19|20)\d\d\b", dataset.citation)
        assert re.search(r"'.{20,}'", dataset.citation)  # the title of the paper


def test_bundles_say_where_from_and_under_which_terms(dataset):
    assert dataset.bundles
    origins = [bundle.origin for bundle in dataset.bundles]
    assert len(set(origins)) == len(origins)
    assert ("generated" in origins) == dataset.synthetic
    for bundle in dataset.bundles:
        assert bundle.licence.strip()
        assert bundle.homepage.startswith("https://") or bundle.origin == "generated"
        assert bool(bundle.sources) != (bundle.origin == "generated")


def test_sources_can_be_fetched_and_checked(dataset):
    for bundle in dataset.bundles:
        files = [source.file for source in bundle.sources]
        assert len(set(files)) == len(files)
        for source in bundle.sources:
            assert PurePosixPath(source.file).name == source.file
            assert source.urls or source.mirror
            for url in source.urls:
                assert resolve(url).startswith("https://")
            if source.sha256 is not None:
                assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
            if bundle.origin == "mirror":
                place = PurePosixPath(source.mirror)
                assert not place.is_absolute()
                assert ".." not in place.parts
                assert source.optional or (source.sha256 and source.bytes)


def test_no_path_of_a_machine_in_the_source(dataset):
    text = Path(inspect.getfile(type(dataset))).read_text(encoding="utf-8")
    assert not re.search(r"[\"'](/(home|root|tmp|mnt|data|work|Users)/|[A-Z]:\\|~/)", text)


def check(rows: list[Row]) -> None:
    assert rows
    assert len({row.image_id for row in rows}) == len(rows)
    for row in rows:
        assert row.split in SPLITS
        assert row.class_name == row.class_name.lower()
        assert not PurePosixPath(row.path).is_absolute()
        assert row.path.endswith(row.image_id)
        assert all(caption == " ".join(caption.split()) for caption in row.captions)


# The annotation files of the official layouts and an image name that each of them has.
ANNOTATIONS = {
    "rsicd": ("dataset_rsicd.json", "airport_1.jpg"),
    "rsitmd": ("RSITMD/dataset_RSITMD.json", "airport_1.tif"),
    "sydney": ("Sydney_captions/dataset.json", "1.tif"),
    "ucm": ("UCM_captions/dataset.json", "1.tif"),
}


@pytest.mark.parametrize("name", FETCHED)
def test_parse_yields_rows_of_the_official_layout(name, tmp_path):
    file, image = ANNOTATIONS[name]
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "txtclasses_rsicd").mkdir()  # read by rsicd alone
    entry = {"filename": image, "split": "val", "sentences": [{"raw": " a  runway"}, {"raw": "two planes ."}]}
    path.write_text(json.dumps({"images": [entry]}), encoding="utf-8")
    rows = list(get_dataset(name).parse(tmp_path))
    check(rows)
    assert rows[0].captions == ["a runway", "two planes ."]
    with pytest.raises(NotImplementedError, match=f"{name} is fetched, not generated"):
        get_dataset(name).prepare(tmp_path)


@pytest.mark.parametrize("name", FETCHED)
def test_parse_says_what_is_missing(name, tmp_path):
    with pytest.raises(DatasetError):
        list(get_dataset(name).parse(tmp_path))


@pytest.mark.mirror
@pytest.mark.parametrize("name", FETCHED)
def test_parse_yields_rows_of_the_mirror(name, mirror):
    check(list(get_dataset(name).parse(mirror / name)))
