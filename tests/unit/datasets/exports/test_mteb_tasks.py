"""The layout of MTEB: its tables by hand, and the tasks loaded and scored by mteb itself."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from rsitr.datasets.base import Row
from rsitr.datasets.exports.layouts import export
from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import CUTOFFS, recall
from tests.helpers.small_table import LOST, draw, put_table, small_table


@pytest.fixture
def out(tmp_path: Path) -> Path:
    export(small_table(tmp_path), "mteb", tmp_path / "out", lost_at_most=LOST)
    return tmp_path / "out"


def read(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_images_and_captions_are_there_once_and_judged_in_both_directions(out: Path) -> None:
    images = read(out / "images/train.parquet")
    assert [(image["id"], image["image"]["path"]) for image in images] == [
        *(("a.1.jpg", "a.1.jpg"), ("b.tif", "b.png"), ("c.png", "c.png"))
    ]
    assert images[0]["image"]["bytes"] == (out.parent / "extracted/x/a.1.jpg").read_bytes()
    assert read(out / "captions/train.parquet") == [
        {"id": "a.1.jpg#1", "text": "a port"},
        {"id": "a.1.jpg#2", "text": "deux bateaux é ."},
        {"id": "b.tif#1", "text": "a port"},
        {"id": "c.png#1", "text": "green"},
    ]
    pairs = [("f.webp", "f.webp#1"), ("f.webp", "f.webp#2"), ("f.webp", "f.webp#3")]
    judged = [{"query-id": image, "corpus-id": caption, "score": 1} for image, caption in pairs]
    assert read(out / "i2t-qrels/test.parquet") == judged
    assert read(out / "t2i-qrels/test.parquet") == [
        {"query-id": pair["corpus-id"], "corpus-id": pair["query-id"], "score": 1} for pair in judged
    ]


def test_blank_captions_are_neither_queries_nor_documents(tmp_path: Path) -> None:
    rows = [Row("a.png", "a.png", "test", "", ["", "a port", "", "a pier"], [])]
    rows.append(Row("b.png", "b.png", "test", "", [""], []))
    draw(rows, tmp_path / "extracted")
    done = export(put_table(rows, tmp_path), "mteb", tmp_path / "out", lost_at_most=LOST)
    assert done == (1, 0, [("b.png", "no captions")], 2)
    assert "- Left out: 1 no captions, 2 blank captions." in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "| test | 1 | 2 |" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    texts = [(caption["id"], caption["text"]) for caption in read(tmp_path / "out/captions/test.parquet")]
    assert texts == [("a.png#1", "a port"), ("a.png#2", "a pier")]


def test_images_are_written_in_parts(tmp_path: Path) -> None:
    rows = [Row(f"{n:03}.png", f"{n:03}.png", "test", "", ["a"], []) for n in range(201)]
    draw(rows, tmp_path / "extracted")
    export(put_table(rows, tmp_path), "mteb", tmp_path / "out")
    file = pq.ParquetFile(tmp_path / "out/images/test.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [100, 100, 1]
    assert file.read()["id"].to_pylist() == [row.image_id for row in rows]


@pytest.mark.parametrize(("splits", "evaluated"), [(["train", "val"], "validation"), (["train", "test"], "test")])
def test_the_tasks_are_python_and_take_the_test_split_or_the_last(splits: Any, evaluated: str, tmp_path: Path) -> None:
    rows = [Row(f"{split}.png", f"{split}.png", split, "", ["a"], []) for split in splits]
    draw(rows, tmp_path / "extracted")
    export(put_table(rows, tmp_path, licence="CC-BY-NC-4.0"), "mteb", tmp_path / "out")
    tree = ast.parse((tmp_path / "out/mteb_tasks.py").read_text(encoding="utf-8"))
    said = {
        keyword.arg: ast.literal_eval(keyword.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg in ("eval_splits", "license", "name", "category")
    }
    assert said["eval_splits"] == [evaluated]
    assert said["license"] == "cc-by-nc-4.0"
    assert (said["name"], said["category"]) == ("UCMCaptionsT2IRetrieval", "t2i")


class Fixed:
    """A model for MTEB whose embeddings of images and texts are given; images are told apart by their colour."""

    mteb_model_meta = None

    def __init__(self, images: np.ndarray, texts: np.ndarray) -> None:
        self.of = {"image": images, "text": texts}

    def encode(self, inputs: Any, **_: Any) -> torch.Tensor:
        found = []
        for batch in inputs:
            if "image" in batch:
                found += [self.of["image"][int(np.asarray(image)[0, 0, 0])] for image in batch["image"]]
            else:
                found += [self.of["text"][int(text.split()[1])] for text in batch["text"]]
        return torch.from_numpy(np.array(found))

    def similarity(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        return queries @ documents.T

    def similarity_pairwise(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        return (queries * documents).sum(dim=1)


@pytest.mark.slow
def test_mteb_loads_the_tasks_and_scores_as_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R@K is MTEB's hit rate in both directions, and its recall only where a query has one relevant item.

    Of ties it counts what has the greater id: one image of forty finds the last of all captions, and three captions of
    120 the last of all images.
    """
    pytest.importorskip("mteb", reason="mteb is not installed: uv pip install --group mteb")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    images, captions = 40, 3
    rows = []
    for n in range(images):
        path = tmp_path / f"extracted/{n:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (n, 0, 0)).save(path)
        texts = [f"caption {captions * n + k}" for k in range(captions)]
        rows.append(Row(path.name, path.name, "test", "port", texts, []))
    export(put_table(rows, tmp_path), "mteb", tmp_path / "out")
    tasks = load(tmp_path / "out/mteb_tasks.py").TASKS
    assert [task.metadata.category for task in tasks] == ["i2t", "t2i"]

    random = np.random.default_rng(0)
    image_of = np.repeat(np.arange(images), captions)
    of_images = random.standard_normal((images, 16), dtype=np.float32)
    of_texts = 0.5 * of_images[image_of] + random.standard_normal((len(image_of), 16), dtype=np.float32)
    expected = recall(rank_embeddings(of_images, of_texts, image_of))
    for task in tasks:
        way, scores = task.metadata.category, scored(task, of_images, of_texts)
        for k in CUTOFFS:
            ours = getattr(expected, f"{way}_r{k}") / 100
            assert 0 < ours < 1
            assert scores[f"hit_rate_at_{k}"] == pytest.approx(ours, abs=5.1e-6)  # mteb rounds to five digits
            assert (scores[f"recall_at_{k}"] == scores[f"hit_rate_at_{k}"]) == (way == "t2i")
        assert scores["main_score"] == scores["hit_rate_at_1"]

        alike = np.ones_like(of_images), np.ones_like(of_texts)
        assert recall(rank_embeddings(*alike, image_of)).mr == 0
        assert scored(task, *alike)["hit_rate_at_1"] == 1 / images


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scored(task: Any, images: np.ndarray, texts: np.ndarray) -> dict[str, float]:
    model, quietly = Fixed(images, texts), {"show_progress_bar": False}
    return task.evaluate(model, "test", encode_kwargs=quietly)[task.metadata.category]
