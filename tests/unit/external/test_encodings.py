"""Ranks of embeddings, scores and runs that somebody else has made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rsitr.datasets.splits import SplitData
from rsitr.errors import DatasetError
from rsitr.external.encodings import caption_names, encoded, of_matrix, of_run, ranked, read_embeddings
from rsitr.external.exports import write_run
from rsitr.external.models import DOT_PRODUCT
from rsitr.retrieval.ranks import rank_embeddings
from rsitr.retrieval.recall import duplicates_of

SPLIT = SplitData(
    ["port 1.tif", "port 2.tif", "wood.tif"],
    [Path("a"), Path("b"), Path("c")],
    ["1", "1", "3"],
    ["a port", "boats", "a port", "a wood"],
    np.array([0, 0, 1, 2]),
    ("", "", ""),
)
"""Three images, of which two are one picture, and four captions, of which two are one text."""
IMAGES = np.array([[3, 0], [0, 1], [1, 1]], dtype=np.float16)
TEXTS = np.array([[1, 0], [0.8, 0.6], [0, 5], [1, 2]])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Embeddings in the order of the split."""
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "texts.npy", TEXTS)
    return tmp_path / "images.npy", tmp_path / "texts.npy"


def same(ours, theirs) -> bool:
    return np.array_equal(ours.i2t, theirs.i2t) and np.array_equal(ours.t2i, theirs.t2i)


def test_embeddings_are_compared_by_their_directions(files):
    found = ranked(read_embeddings(*files, SPLIT), SPLIT)
    # Cosines: image 1 has 1, .8, 0, .45; image 2 has 0, .6, 1, .89; image 3 has .71, .99, .71, .95.
    assert found.plain.i2t.tolist() == [1, 1, 2]
    assert found.plain.t2i.tolist() == [1, 2, 1, 1]
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (IMAGES.astype(float), TEXTS)]
    theirs = rank_embeddings(
        *(torch.tensor(side, dtype=torch.float32) for side in unit),
        SPLIT.image_of,
        duplicates=duplicates_of(SPLIT.captions, SPLIT.hashes),
    )
    assert same(found.plain, theirs.plain)
    assert same(found.duplicate_aware, theirs.duplicate_aware)
    assert found.reranked is not None


def test_embeddings_with_ids_may_come_in_any_order(files, tmp_path):
    names = np.array(caption_names(SPLIT))
    assert names.tolist() == ["port 1.tif#1", "port 1.tif#2", "port 2.tif#1", "wood.tif#1"]
    np.savez(tmp_path / "images.npz", ids=np.array(SPLIT.image_ids)[::-1], embeddings=IMAGES[::-1])
    np.savez(tmp_path / "texts.npz", ids=names[[2, 0, 3, 1]], embeddings=TEXTS[[2, 0, 3, 1]])
    ours = read_embeddings(tmp_path / "images.npz", tmp_path / "texts.npz", SPLIT)
    theirs = read_embeddings(*files, SPLIT)
    assert torch.equal(ours.images, theirs.images)
    assert torch.equal(ours.texts, theirs.texts)


def saved(path: Path, content) -> Path:
    np.savez(path, **content) if isinstance(content, dict) else np.save(path, content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", IMAGES[:2], "has 2 rows for 3 images: give one for each, in the order of the split"),
        ("x.npy", IMAGES[0], r"holds float16 of shape \(2,\): give numbers \[N, D\]"),
        ("x.npy", IMAGES.astype(int), r"holds int64 of shape \(3, 2\)"),
        (
            "x.npy",
            np.array([[3, 0], [np.nan, 1], [1, 1]]),
            "1 of 3 image embeddings are no direction: that of 1 is not",
        ),
        ("x.npy", np.array([[3, 0], [0, 1], [0, 0.0]]), "1 of 3 image embeddings are no direction: that of 2 is 0"),
        ("x.npy", np.array([[{}]]), "is not an array that numpy.save or numpy.savez wrote"),
        ("x.npz", {"embeddings": IMAGES}, "has the arrays embeddings: name them embeddings and ids"),
        (
            "x.npz",
            {"embeddings": IMAGES, "ids": ["port 1.tif", "port 1.tif", "field.tif"]},
            r"the ids of .*x.npz are not those of the 3 images: 1 twice \(port 1.tif\), 1 unknown \(field.tif\), "
            r"2 missing \(port 2.tif\)",
        ),
    ],
)
def test_embeddings_that_cannot_be_used_are_told(name, content, message, files, tmp_path):
    with pytest.raises(DatasetError, match=message):
        read_embeddings(saved(tmp_path / name, content), files[1], SPLIT)


def test_files_that_are_none_and_widths_that_differ_are_told(files, tmp_path):
    with pytest.raises(DatasetError, match=r"gone.npy does not exist"):
        read_embeddings(tmp_path / "gone.npy", files[1], SPLIT)
    (tmp_path / "x.npy").write_bytes(b"half")
    with pytest.raises(DatasetError, match="is not an array"):
        read_embeddings(tmp_path / "x.npy", files[1], SPLIT)
    wide = saved(tmp_path / "wide.npy", np.ones((3, 5)))
    with pytest.raises(DatasetError, match="images have 5 dimensions and texts 2"):
        ranked(read_embeddings(wide, files[1], SPLIT), SPLIT)


MATRIX = np.array([[0.9, 0.2, 0.9, 0.1], [0.5, 0.6, 0.4, 0.3], [0.1, 0.1, 0.2, 0.7]])


def test_a_matrix_of_scores_is_ranked_as_it_is(tmp_path):
    found = of_matrix(saved(tmp_path / "scores.npy", MATRIX), SPLIT)
    assert found.plain.i2t.tolist() == [2, 3, 1]  # a tie with the caption of another image counts against the first
    assert found.plain.t2i.tolist() == [1, 2, 2, 1]
    assert found.duplicate_aware.i2t.tolist() == [1, 1, 1]
    with pytest.raises(DatasetError, match=r"holds float64 of shape \(2, 4\): give floating-point scores \(3, 4\)"):
        of_matrix(saved(tmp_path / "short.npy", MATRIX[:2]), SPLIT)


def test_a_run_of_everything_is_the_matrix_again(tmp_path):
    whole = of_matrix(saved(tmp_path / "scores.npy", MATRIX), SPLIT)
    write_run(tmp_path / "run.trec", "ours", SPLIT, whole.top)
    assert (tmp_path / "run.trec").read_text().startswith("port%201.tif Q0 port%201.tif#1 1 0.8999999761581421 ours\n")
    found = of_run(tmp_path / "run.trec", SPLIT)
    assert same(found.plain, whole.plain)
    assert same(found.duplicate_aware, whole.duplicate_aware)
    assert found.reranked is None
    assert np.array_equal(found.top.t2i.items, whole.top.t2i.items)


RUN = """\
port%201.tif Q0 port%201.tif#1 1 .5 x
port%202.tif Q0 wood.tif#1 1 .5 x
wood.tif Q0 wood.tif#1 1 .5 x
port%201.tif#1 Q0 port%201.tif 1 3 x
port%201.tif#2 Q0 wood.tif 9 1 x
port%201.tif#2 Q0 port%201.tif 1 -2 x
port%202.tif#1 Q0 wood.tif 1 1 x
wood.tif#1 Q0 wood.tif 1 1 x
"""


def test_what_a_run_does_not_list_comes_last_and_scores_decide(tmp_path):
    (tmp_path / "run").write_text(RUN)
    found = of_run(tmp_path / "run", SPLIT)
    assert found.plain.i2t.tolist() == [1, 4, 1]
    assert found.plain.t2i.tolist() == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 .5 x", ".5 x", "line 1: not of the form QUERY Q0 ITEM RANK SCORE TAG"),
        ("port%201.tif#2 Q0 wood.tif", "port%201.tif#3 Q0 wood.tif", "line 5: port%201.tif#3 and wood.tif are not an"),
        ("9 1 x", "9 nan x", "line 5: wood.tif has the score nan, which is no number"),
        ("1 -2 x", "1 two x", "line 6: port%201.tif has the score two"),
        ("port%201.tif 1 -2", "wood.tif 1 -2", "line 6: wood.tif is listed twice"),
        ("wood.tif Q0 wood.tif#1 1 .5 x\n", "", r"answers no query for 1 of 3 images \(wood.tif\)"),
        ("wood.tif#1 Q0 wood.tif 1 1 x\n", "", r"answers no query for 1 of 4 captions \(wood.tif#1\)"),
    ],
)
def test_a_run_that_is_none_of_this_test_set_is_told(old, new, message, tmp_path):
    (tmp_path / "run").write_text(RUN.replace(old, new, 1))
    with pytest.raises(DatasetError, match=message):
        of_run(tmp_path / "run", SPLIT)


class Counting:
    """Encodes an image as the bytes of its name, a text as its letters, and counts."""

    scorer = DOT_PRODUCT

    def __init__(self, wrong: bool = False):
        self.seen: list[str] = []
        self.wrong = wrong

    def encode_images(self, paths):
        self.seen += map(str, paths)
        return torch.tensor([[float(ord(str(path)[0])), 1.0] for path in paths])

    def encode_texts(self, texts):
        self.seen += texts
        if self.wrong:
            raise KeyboardInterrupt
        return torch.tensor([[float(len(text)), 2.0] for text in texts])


def test_each_picture_and_each_text_is_encoded_once_and_not_again_after_a_kill(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        encoded(Counting(wrong=True), SPLIT, tmp_path)
    model = Counting()
    found = encoded(model, SPLIT, tmp_path)
    assert model.seen == ["a port", "a wood", "boats"]
    assert torch.equal(found.images[0], found.images[1])
    torch.testing.assert_close(found.images[2], torch.tensor([99.0, 1.0]) / (99**2 + 1) ** 0.5)
    assert found.place.tolist() == [0, 2, 0, 1]
    fresh = Counting()
    encoded(fresh, SPLIT, tmp_path / "other")
    assert fresh.seen == ["a", "c", "a port", "a wood", "boats"]
