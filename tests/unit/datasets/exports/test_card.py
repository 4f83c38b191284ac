"""The dataset card: its YAML by the Hub's own reader, and what it tells a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from huggingface_hub import DatasetCard

from rsitr.datasets import registry
from rsitr.datasets.exports.card import Leak, Made, card, homepage, hub_licence, metadata
from rsitr.datasets.exports.layouts import Format, export
from rsitr.datasets.table import DatasetFacts
from tests.helpers.small_table import LOST, small_table

FORMATS = get_args(Format)


def made(form: str, out: Path, **options: Any) -> DatasetCard:
    export(small_table(out.parent), form, out, lost_at_most=LOST, **options)  # type: ignore[arg-type]
    return DatasetCard.load(out / "README.md")


@pytest.mark.parametrize("form", FORMATS)
def test_the_hub_reads_what_the_dataset_is(form: str, tmp_path: Path) -> None:
    data = made(form, tmp_path / "out").data
    assert (data.pretty_name, data.license, data.language) == ("UCM-Captions", "unknown", ["en"])
    assert data.task_categories == [
        *("image-to-text", "text-to-image", "image-classification", "zero-shot-image-classification")
    ]
    assert data.task_ids == ["image-captioning"]
    assert data.size_categories == ["n<1K"]
    assert data["tags"] == ["remote-sensing", "image-text-retrieval"]


@pytest.mark.parametrize("form", FORMATS)
def test_configurations_name_files_that_are_there(form: str, tmp_path: Path) -> None:
    configs = made(form, tmp_path / "out").data.to_dict().get("configs", [])
    splits = {config["config_name"]: [files["split"] for files in config["data_files"]] for config in configs}
    both = ["train", "test"]
    assert (
        splits
        == {
            "huggingface": {"default": ["train", "validation", "test"]},
            "webdataset": {"default": ["train", "validation", "test"]},
            "clip-benchmark": {"default": both},
            "karpathy": {},
            "mteb": {f"{way}-{part}": both for way in ("i2t", "t2i") for part in ("corpus", "queries", "qrels")},
        }[form]
    )
    for config in configs:
        for files in config["data_files"]:
            assert [path for path in (tmp_path / "out").glob(files["path"]) if path != tmp_path / "out"]


def test_counts_of_the_splits(tmp_path: Path) -> None:
    found = made("huggingface", tmp_path / "out")
    info = found.data["dataset_info"]
    assert [(each["name"], each["num_examples"]) for each in info["splits"]] == [
        *(("train", 3), ("validation", 1), ("test", 1))
    ]
    for each in info["splits"]:
        assert each["num_bytes"] == sum(path.stat().st_size for path in (tmp_path / "out" / each["name"]).iterdir())
    assert info["dataset_size"] == sum(each["num_bytes"] for each in info["splits"])
    assert "| train | 3 | 4 |\n| validation | 1 | 0 |\n| test | 1 | 3 |\n" in found.text


def test_what_was_encoded_again_and_left_out_is_said(tmp_path: Path) -> None:
    text = made("mteb", tmp_path / "out").text
    assert "- The bytes of their file: 3.\n" in text
    assert "programs read the file differently: 1.\n" in text
    assert "- Left out: 1 no captions, 1 missing image.\n" in text


def test_near_duplicates_that_were_counted_and_those_that_were_not(tmp_path: Path) -> None:
    leaks = [Leak("remoteclip", "train", 2, 7), Leak("remoteclip", "val", 0, 7), Leak("copies", "train", None, 7)]
    text = made("huggingface", tmp_path / "out", leaks=leaks).text
    assert "- 2 of 7 test images have one in train: 64-bit perceptual hashes" in text
    assert "- 0 of 7 test images have one in validation: 64-bit" in text
    assert "- Not measured by rule `copies`. To know, run `rsitr dedup thumbnails ucm` and `rsitr dedup pairs" in text
    assert "No near duplicate was removed." in text


FACTS = DatasetFacts("aid", "AID", "official", "none stated", False, "", "sha")


def row(split: str, **values: Any) -> dict[str, Any]:
    return {"image_id": "a", "split": split, "class_name": "", "captions": [], "keywords": []} | values


def described(facts: DatasetFacts, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return metadata(facts, Made("karpathy", {"train": rows}, Path(), 0, ""))


def test_a_classification_set_has_no_language_and_no_captioning() -> None:
    found = described(FACTS, [row("train", class_name="port")])
    assert found["task_categories"] == ["image-classification", "zero-shot-image-classification"]
    assert not {"language", "task_ids"} & set(found)
    assert found["tags"] == ["remote-sensing"]


def test_a_set_without_a_test_split_leaks_nothing() -> None:
    assert "There is no test split." in card(FACTS, Made("karpathy", {"train": [row("train")]}, Path(), 0, ""), ())


@pytest.mark.parametrize(
    ("images", "size"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10_921, "10K<n<100K"), (100_000, "100K<n<1M")],
)
def test_size_category(images: int, size: str) -> None:
    assert described(FACTS, [row("train")] * images)["size_categories"] == [size]


@pytest.mark.parametrize(
    ("licence", "identifier"),
    [
        *(("none stated", "unknown"), ("Apache-2.0", "apache-2.0"), ("CC-BY-NC-4.0", "cc-by-nc-4.0")),
        *(("CC BY 4.0", "cc-by-4.0"), ("none stated (Google Earth imagery, for research)", "other")),
    ],
)
def test_licences(licence: str, identifier: str) -> None:
    assert hub_licence(licence) == identifier


def test_terms_without_an_identifier_have_a_name_and_a_link() -> None:
    found = described(FACTS._replace(licence="images: public domain (USGS); captions: none stated"), [row("train")])
    assert found["license"] == "other"
    assert found["license_name"] == "images-public-domain-usgs-captions-none-stated"
    assert found["license_link"] == homepage(FACTS)
    assert found["license_link"].startswith("https://")


@pytest.mark.parametrize("name", registry())
def test_every_dataset_has_a_card_that_the_hub_reads(name: str) -> None:
    for bundle in registry()[name].bundles:
        facts = DatasetFacts(name, registry()[name].title, bundle.origin, bundle.licence, False, "", "sha")
        text = card(facts, Made("karpathy", {"test": [row("test", captions=["a"])]}, Path(), 0, ""), ())
        data = DatasetCard(text).data
        assert data.license in {"apache-2.0", "cc-by-nc-4.0", "unknown", "other"}
        assert (data.license == "other") == ("license_name" in data.to_dict())
