"""What every registered dataset keeps to."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from webdataset import TarWriter

from rsitr.datasets import get_dataset, registry
from rsitr.datasets.archives import extract
from rsitr.datasets.base import Row
from rsitr.datasets.fetch import resolve
from rsitr.datasets.karpathy import SPLITS
from rsitr.datasets.tars import PACKED
from rsitr.errors import DatasetError
from rsitr.params.ids import NAME

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
                assert resolve(url).startswith(("https://", "hf://"))
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
        assert row.path.endswith(row.image_id) or PACKED.fullmatch(row.path)
        assert all(caption == " ".join(caption.split()) for caption in row.captions)


def karpathy(root: Path, file: str, image: str) -> None:
    """A Karpathy-style annotation of one image of the validation split."""
    entry = {"filename": image, "split": "val", "sentences": [{"raw": " a  runway"}, {"raw": "two planes ."}]}
    write(root / file, json.dumps({"images": [entry]}))


def rsicd(root: Path) -> None:
    write(root / "txtclasses_rsicd" / "airport.txt", "airport_1.jpg\n")
    karpathy(root, "dataset_rsicd.json", "airport_1.jpg")


def nwpu(root: Path) -> None:
    sentences = {"raw": " a  runway", "raw_1": "two planes ."} | {f"raw_{number}": "sand" for number in (2, 3, 4)}
    write(
        root / "dataset_nwpu.json", json.dumps({"Airport": [{"filename": "airport_1.jpg", "split": "val"} | sentences]})
    )


def remoteclip(root: Path) -> None:
    lines = ("title\tfilename", " a  runway\trsicd_airport_1.jpg", "two planes .\trsicd_airport_1.jpg")
    write(root / "Ret-3_train.csv", "\n".join(lines))


def rs5m(root: Path) -> None:
    with TarWriter(str(root / "pub11-val-0031.tar"), encoder=False) as shard:
        sample = {"img_name": b"cc3m_1.jpg", "caption": b" a  runway", "img_content": b"pixels"}
        shard.write({"__key__": "000000"} | sample)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# One image in the official layout of every dataset, and its first two captions.
TWO = ["a runway", "two planes ."]
EXAMPLES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "aid": (lambda root: write(root / "AID/Airport/airport_1.jpg", ""), []),
    "nwpu": (nwpu, TWO),
    "remoteclip": (remoteclip, TWO),
    "resisc45": (lambda root: write(root / "NWPU-RESISC45/airport/airport_001.jpg", ""), []),
    "rs5m": (rs5m, ["a runway"]),
    "rsicd": (rsicd, TWO),
    "rsitmd": (lambda root: karpathy(root, "RSITMD/dataset_RSITMD.json", "airport_1.tif"), TWO),
    "sydney": (lambda root: karpathy(root, "Sydney_captions/dataset.json", "1.tif"), TWO),
    "ucm": (lambda root: karpathy(root, "UCM_captions/dataset.json", "1.tif"), TWO),
}


@pytest.mark.parametrize("name", FETCHED)
def test_parse_yields_rows_of_the_official_layout(name, tmp_path):
    prepare, captions = EXAMPLES[name]
    prepare(tmp_path)
    rows = list(get_dataset(name).parse(tmp_path))
    check(rows)
    assert rows[0].captions[:2] == captions
    assert rows[0].captions or rows[0].split == "train"  # a scene classification set
    with pytest.raises(NotImplementedError, match=f"{name} is fetched, not generated"):
        get_dataset(name).prepare(tmp_path)


@pytest.mark.parametrize("name", FETCHED)
def test_parse_says_what_is_missing(name, tmp_path):
    with pytest.raises(DatasetError):
        list(get_dataset(name).parse(tmp_path))


@pytest.mark.mirror
@pytest.mark.parametrize("name", FETCHED)
def test_parse_yields_rows_of_the_mirror(name, mirror, tmp_path):
    copy = next((bundle for bundle in registry()[name].bundles if bundle.origin == "mirror"), None)
    if copy is None:
        pytest.skip(f"no mirror has {name}: it is fetched from {registry()[name].bundles[0].homepage}")
    root = mirror / name
    if all(source.file.endswith(".zip") for source in copy.sources):  # no annotation: the folders are all there is
        root = tmp_path
        extract(mirror / copy.sources[0].mirror, root)
    check(list(get_dataset(name).parse(root)))
