"""Ranks against a reference that reads like the definition, on inputs full of ties, and against CLIP_benchmark."""

from pathlib import Path

import numpy as np
import pytest
import torch
from clip_benchmark.metrics.zeroshot_retrieval import recall_at_k
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from rsitr.errors import DatasetError, TrainingDiverged
from rsitr.retrieval import ranks as module
from rsitr.retrieval.ranks import rank_embeddings, rank_scores
from rsitr.retrieval.recall import Duplicates, Ranks
from tests.helpers.examples import examples
from tests.helpers.ranked import alone, assert_same, captioned_images, relevance


def reference(scores: np.ndarray, image_of: np.ndarray, duplicates: Duplicates | None = None) -> Ranks:
    """Sort nothing: count, pair by pair, the irrelevant items that reach the best relevant score."""
    n_images, n_texts = scores.shape
    relevant = relevance(image_of, duplicates).tolist()

    def rank(line: list[float], is_relevant: list[bool]) -> int:
        best = max(s for s, r in zip(line, is_relevant, strict=True) if r)
        return 1 + sum(s >= best for s, r in zip(line, is_relevant, strict=True) if not r)

    rows, columns = scores.tolist(), scores.T.tolist()
    return Ranks(
        i2t=np.array([rank(rows[i], relevant[i]) for i in range(n_images)]),
        t2i=np.array([rank(columns[c], [relevant[i][c] for i in range(n_images)]) for c in range(n_texts)]),
    )


def test_by_hand() -> None:
    scores = torch.tensor(
        [
            [0.9, 0.2, 0.9, 0.1],  # own captions 0 and 1: the foreign caption 2 ties with the best own one
            [0.3, 0.8, 0.5, 0.7],  # own captions 2 and 3: only caption 1 stands before 3
        ]
    )
    ranks = rank_scores(lambda i, t: scores[i, t], np.array([0, 0, 1, 1]))
    assert_array_equal(ranks.i2t, [2, 2])
    assert_array_equal(ranks.t2i, [1, 2, 2, 1])


def test_by_hand_duplicate_aware() -> None:
    scores = torch.tensor(
        [
            [0.9, 0.2, 0.9, 0.1],  # caption 2 says the same as caption 0
            [0.3, 0.8, 0.5, 0.7],
        ]
    )
    image_of = np.array([0, 0, 1, 1])
    plain, aware = rank_scores(lambda i, t: scores[i, t], image_of, duplicates=alone(image_of, [7, 5, 7, 6]))
    assert_array_equal(plain.i2t, [2, 2])
    assert_array_equal(aware.i2t, [1, 2])
    assert_array_equal(plain.t2i, [1, 2, 2, 1])
    assert_array_equal(aware.t2i, [1, 2, 1, 1])


def test_one_picture_twice_by_hand() -> None:
    """Images 0 and 2 are one picture, the captions all differ, and the scorer is perfect."""
    image_of, scores = np.array([0, 1, 2, 2]), torch.tensor([[3.0, 1, 4, 2], [0, 5, 0, 0], [3, 1, 4, 2]])
    pictures = Duplicates(np.arange(4), np.array([8, 9, 8]))
    plain, aware = rank_scores(lambda i, t: scores[i, t], image_of, duplicates=pictures)
    # Image 0 has caption 0, ahead of which is caption 2 of the same picture; no caption tells image 0 from image 2.
    assert_array_equal(plain.i2t, [2, 1, 1])
    assert_array_equal(plain.t2i, [2, 1, 2, 2])
    assert_array_equal(aware.i2t, [1, 1, 1])
    assert_array_equal(aware.t2i, [1, 1, 1, 1])


def test_a_text_is_that_of_every_copy_of_a_picture_by_hand() -> None:
    """Images 0 and 1 are one picture; caption 0 of image 0 says the same as caption 2 of image 2."""
    scores = torch.tensor([[1.0, 2, 3], [1, 2, 3], [1, 2, 0]])
    same = Duplicates(np.array([0, 1, 0]), np.array([0, 0, 1]))
    aware = rank_scores(lambda i, t: scores[i, t], np.arange(3), duplicates=same).duplicate_aware
    assert_array_equal(aware.i2t, [1, 1, 2])  # image 1 finds caption 2, image 2 captions 0 and 2 after caption 1
    assert_array_equal(aware.t2i, [1, 2, 1])


@examples(150)
@given(captioned_images())
def test_scores_full_of_ties_equal_the_reference(drawn: tuple) -> None:
    generator, image_of, duplicates, block = drawn
    scores = generator.integers(4, size=(image_of.max() + 1, len(image_of))).astype(np.float32)
    plain, aware = rank_scores(
        lambda i, t: torch.from_numpy(scores[i, t]), image_of, duplicates=duplicates, block=block
    )
    assert_same(plain, reference(scores, image_of))
    assert_same(aware, reference(scores, image_of, duplicates))
    assert_same(rank_scores(lambda i, t: torch.from_numpy(scores[i, t]), image_of, block=block), plain)
    assert (aware.i2t <= plain.i2t).all()
    assert (aware.t2i <= plain.t2i).all()


@examples(100)
@given(captioned_images(), st.sampled_from([np.float32, np.float16, np.float64]))
def test_integer_embeddings_equal_the_reference(drawn: tuple, dtype: type) -> None:
    generator, image_of, duplicates, block = drawn
    images = generator.integers(-2, 3, size=(image_of.max() + 1, 3)).astype(dtype)
    texts = generator.integers(-2, 3, size=(len(image_of), 3)).astype(dtype)
    plain, aware = rank_embeddings(images, texts, image_of, duplicates=duplicates, block=block)
    scores = images.astype(int) @ texts.astype(int).T
    assert_same(plain, reference(scores, image_of))
    assert_same(aware, reference(scores, image_of, duplicates))
    from_tensors = rank_embeddings(torch.from_numpy(images), torch.from_numpy(texts), image_of, block=block)
    assert_same(from_tensors, plain)


@pytest.mark.parametrize("block", [7, 64, 65, 4096])
def test_equal_embeddings_tie_wherever_they_stand(block: int) -> None:
    """The product rounds one and the same dot product differently inside a tile; the reference scores each row once."""
    generator = np.random.default_rng(3)
    distinct_images, distinct_texts = (
        generator.standard_normal((n, 512)).astype(np.float32) / 512**0.5 for n in (9, 40)
    )
    image_row, text_row = generator.integers(9, size=67), generator.integers(40, size=201)
    image_of = np.arange(201) // 3
    scores = (distinct_images.astype(np.float64) @ distinct_texts.T.astype(np.float64))[image_row][:, text_row]
    ranks = rank_embeddings(distinct_images[image_row], distinct_texts[text_row], image_of, block=block)
    assert_same(ranks, reference(scores, image_of))


def test_zeros_of_either_sign_are_equal() -> None:
    texts = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    twins = module._twins(texts, "cpu")
    assert twins is not None
    assert twins[0] == twins[1] != -1
    assert twins[2] == -1


def test_rows_that_share_only_their_first_value_are_no_twins() -> None:
    twins = module._twins(np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 1.0]], dtype=np.float32), "cpu")
    assert twins is not None
    assert twins[0] == twins[2] != twins[1]


def test_collapsed_embeddings_rank_last() -> None:
    image_of = np.repeat(np.arange(50), 5)
    ranks = rank_embeddings(np.full((50, 16), 0.1), np.full((250, 16), 0.3), image_of, block=32)
    assert_array_equal(ranks.i2t, np.full(50, 246))
    assert_array_equal(ranks.t2i, np.full(250, 50))


@pytest.mark.parametrize("k", [1, 5, 10])
def test_equals_clip_benchmark_where_there_are_no_ties(k: int) -> None:
    generator = torch.Generator().manual_seed(1)
    image_of = torch.arange(300) // 5
    images = torch.randn(60, 32, generator=generator)
    texts = torch.randn(300, 32, generator=generator) + 0.3 * images[image_of]
    scores = texts @ images.T
    positive = image_of[:, None] == torch.arange(60)
    ranks = rank_embeddings(images, texts, image_of.numpy(), block=37)
    assert_array_equal(ranks.t2i <= k, recall_at_k(scores, positive, k).numpy() > 0)
    assert_array_equal(ranks.i2t <= k, recall_at_k(scores.T, positive.T, k).numpy() > 0)


def test_clip_benchmark_lets_topk_decide_ties_and_we_do_not() -> None:
    scores, positive = torch.zeros(20, 20), torch.eye(20, dtype=torch.bool)
    ranks = rank_scores(lambda i, t: scores[i, t], np.arange(20))
    assert (recall_at_k(scores, positive, 10) > 0).sum() == 10
    assert (ranks.t2i <= 10).sum() == 0


def test_a_memory_map_is_read_tile_by_tile(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    images, texts = generator.standard_normal((30, 8), np.float32), generator.standard_normal((90, 8), np.float32)
    np.save(tmp_path / "texts.npy", texts)
    image_of = np.arange(90) // 3
    on_disk = rank_embeddings(images, np.load(tmp_path / "texts.npy", mmap_mode="r"), image_of, block=16)
    assert_same(on_disk, rank_embeddings(images, texts, image_of))


def test_the_scorer_is_asked_once_per_tile_while_tiles_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(40, 120, generator=generator)
    asked: list[tuple[int, int]] = []

    def score(images: slice, texts: slice) -> torch.Tensor:
        asked.append((images.start, texts.start))
        return scores[images, texts].clone()

    held = rank_scores(score, np.arange(120) // 3, block=10)
    assert len(asked) == len(set(asked)) == 4 * 12

    asked.clear()
    monkeypatch.setattr(module, "HELD_BYTES", 5 * 10 * 10 * 4)
    scarce = rank_scores(score, np.arange(120) // 3, block=10)
    on_the_diagonal = 12  # three caption tiles for each of the four image tiles
    assert len(asked) == 4 * 12 + on_the_diagonal - 5
    assert_same(scarce, held)


def test_reduced_precision_of_the_caller_does_not_reach_the_scores() -> None:
    generator = torch.Generator().manual_seed(4)
    images, texts = torch.randn(100, 64, generator=generator), torch.randn(100, 64, generator=generator)
    expected = rank_embeddings(images, texts, np.arange(100))
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_same(rank_embeddings(images, texts, np.arange(100)), expected)
        with module._full_float32("cpu"):  # without bfloat16 units the processor computes in float32 either way
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_embeddings_that_still_carry_gradients_are_accepted() -> None:
    images = torch.eye(4, requires_grad=True)
    assert_array_equal(rank_embeddings(images, images * 1, np.arange(4)).i2t, [1, 1, 1, 1])


@pytest.mark.parametrize("row", [0, 9])
def test_nan_is_an_error(row: int) -> None:
    texts = np.eye(10, dtype=np.float32)
    texts[row, 3] = np.nan
    with pytest.raises(TrainingDiverged, match="not a number"):
        rank_embeddings(np.eye(10, dtype=np.float32), texts, np.arange(10), block=4)


def test_nan_far_from_every_relevant_pair_is_an_error() -> None:
    scores = torch.eye(10)
    scores[0, 9] = torch.nan
    with pytest.raises(TrainingDiverged, match="images 0 to 3 and captions 8 to 9"):
        rank_scores(lambda i, t: scores[i, t], np.arange(10), block=4)


@pytest.mark.parametrize("image_of", [[0, 0, 2], [-1, 0, 1], [], [[0, 1]]])
def test_images_must_be_numbered_and_captioned(image_of: list) -> None:
    with pytest.raises(DatasetError, match="renumber"):
        rank_scores(lambda i, t: torch.zeros(3, 3)[i, t], np.array(image_of, dtype=int))


def test_sizes_must_agree() -> None:
    eye = np.eye(3, dtype=np.float32)
    with pytest.raises(DatasetError, match="2 images and 3 captions, but 3 and 3 were embedded"):
        rank_embeddings(eye, eye, np.array([0, 1, 1]))
    for same in (Duplicates(np.arange(2), np.arange(3)), Duplicates(np.arange(3), np.arange(4))):
        with pytest.raises(DatasetError, match="came with 3 captions and 3 images: give one text per caption"):
            rank_embeddings(eye, eye, np.arange(3), duplicates=same)
    with pytest.raises(ValueError, match="cannot be compared"):
        rank_embeddings(eye, eye[:, :2], np.arange(3))
    with pytest.raises(ValueError, match=r"must be \(3, 3\)"):
        rank_scores(lambda i, t: torch.zeros(3, 1), np.arange(3))
