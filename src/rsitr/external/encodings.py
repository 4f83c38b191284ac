"""From a model, from files of embeddings, from a matrix of scores or from a run to the ranks of a test set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional as F

from rsitr.datasets.splits import SplitData, caption_name
from rsitr.errors import DatasetError
from rsitr.external.models import DOT_PRODUCT, Encoder
from rsitr.progress import Progress
from rsitr.records.files import replacing
from rsitr.retrieval.ranks import rank_scores
from rsitr.retrieval.recall import ProtocolRanks, Ranks, duplicates_of, picture_groups, text_groups
from rsitr.retrieval.rerank import rerank
from rsitr.retrieval.top import FirstItems
from rsitr.retrieval.top_files import SplitTop
from rsitr.stages.encode import Encoded, Scores, joined, slices

BATCH = 64
CHUNK = 1024
"""Items whose encodings are kept at once, from which a killed run continues."""
NOT_LISTED = -np.finfo(np.float32).max
"""Score of an item that a run does not list: below all others, and a tie with every item that it does not list."""
T = TypeVar("T")


class Ranking(NamedTuple):
    """The ranks of a test set."""

    plain: Ranks
    duplicate_aware: Ranks
    reranked: Ranks | None
    """After re-ranking; None for a run, which has no score of most pairs."""
    top: SplitTop


def encoded(model: Encoder, split: SplitData, kept: Path) -> Encoded:
    """Every distinct picture and every distinct caption of a split, once; what is in the folder ``kept`` is read.

    Raises ``DatasetError`` for an embedding that is no direction.
    """
    picture, text = picture_groups(split.hashes), text_groups(split.captions)
    paths, texts = (
        [items[place] for place in np.unique(groups, return_index=True)[1]]
        for groups, items in ((picture, split.paths), (text, split.captions))
    )
    images = _encode("images", paths, model.encode_images, kept)
    words = _encode("texts", texts, model.encode_texts, kept)
    if model.scorer.interacts:
        return Encoded(images[picture], words, torch.from_numpy(text))
    return Encoded(
        directions(images, "image", lambda place: str(paths[place]))[picture],
        directions(words, "text", lambda place: repr(texts[place])),
        torch.from_numpy(text),
    )


def _encode(what: str, items: Sequence[T], encode: Callable[[Sequence[T]], Tensor], kept: Path) -> Tensor:
    kept.mkdir(parents=True, exist_ok=True)
    parts = []
    with Progress(what, len(items)) as progress:
        for number, chunk in enumerate(slices(len(items), CHUNK)):
            path = kept / f"{what}-{number:05}.pt"
            if not path.is_file():
                batches = (chunk[batch] for batch in slices(len(chunk), BATCH))
                found = joined([encode([items[place] for place in batch]) for batch in batches])
                with replacing(path) as partial:
                    torch.save(found, partial)
            parts.append(torch.load(path, weights_only=True))
            progress.advance(steps=len(chunk))
    return joined(parts)


def directions(embeddings: Tensor, what: str, name: Callable[[int], str]) -> Tensor:
    """Embeddings [N, D] at unit length; raises ``DatasetError`` that names one without a direction."""
    wrong = ~torch.isfinite(embeddings).all(1) | (embeddings == 0).all(1)
    if wrong.any():
        place = int(wrong.nonzero()[0])
        value = "0" if (embeddings[place] == 0).all() else "not a number, or infinite"
        raise DatasetError(
            f"{int(wrong.sum())} of {len(embeddings)} {what} embeddings are no direction: that of {name(place)} is "
            f"{value}. Encode again"
        )
    return F.normalize(embeddings, dim=1)


def ranked(encodings: Encoded, split: SplitData, scorer: Any = DOT_PRODUCT, device: str = "cpu") -> Ranking:
    """The ranks of encodings, by dot product or by the method of ours that made them.

    Raises ``DatasetError`` where images and texts cannot be compared.
    """
    images, texts = (side.shape[-1] for side in (encodings.images, encodings.texts))
    if images != texts:
        raise DatasetError(
            f"images have {images} dimensions and texts {texts}: give what one model returns after its projections"
        )
    scores = Scores(scorer, encodings, device, "score")
    top = FirstItems(len(split.paths), len(split.captions))
    plain, duplicate_aware = scores.rank(split.image_of, duplicates_of(split.captions, split.hashes), top)
    return Ranking(plain, duplicate_aware, scores.rerank(split.image_of), SplitTop(top.i2t, top.t2i))


def read_embeddings(images: Path, texts: Path, split: SplitData) -> Encoded:
    """Embeddings that somebody else computed: ``.npy`` [N, D] in the order of the split, or ``.npz`` with ids.

    An ``.npz`` has ``embeddings`` [N, D] and ``ids`` [N]: those of images are image ids, those of captions ``IMAGE#K``,
    the K-th caption of an image, from 1. Raises ``DatasetError`` for anything else, with what is wrong.
    """
    sides = (
        _rows(images, "images", split.image_ids),
        _rows(texts, "captions", caption_names(split)),
    )
    found = [directions(rows, what, str) for rows, what in zip(sides, ("image", "caption"), strict=True)]
    return Encoded(found[0], found[1], torch.arange(len(split.captions)))


def caption_names(split: SplitData) -> list[str]:
    """The name of every caption, as results have it."""
    return [caption_name(split, place) for place in range(len(split.captions))]


def token(name: str) -> str:
    """A name without white space, which separates the columns of a run."""
    return re.sub(r"\s", lambda found: quote(found[0]), name)


def _load(path: Path) -> npt.NDArray[np.generic] | np.lib.npyio.NpzFile:
    try:
        return np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist") from None
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(
            f"{path} is not an array that numpy.save or numpy.savez wrote ({error}): save numbers, no objects"
        ) from None


def _rows(path: Path, what: str, names: Sequence[str]) -> Tensor:
    """The embeddings [N, D] of ``names``, in their order."""
    content = _load(path)
    ids: Sequence[str] | None = None
    if isinstance(content, np.lib.npyio.NpzFile):
        if not {"embeddings", "ids"} <= {*content}:
            raise DatasetError(f"{path} has the arrays {', '.join(content) or 'none'}: name them embeddings and ids")
        ids, array = content["ids"].astype(str).tolist(), content["embeddings"]
    else:
        array = content
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise DatasetError(f"{path} holds {array.dtype} of shape {array.shape}: give numbers [N, D], one row each")
    if ids is None:
        if len(array) != len(names):
            raise DatasetError(
                f"{path} has {len(array)} rows for {len(names)} {what}: give one for each, in the order of the split, "
                "or an .npz with ids"
            )
        return torch.from_numpy(np.asarray(array, dtype=np.float32))
    return torch.from_numpy(np.asarray(array, dtype=np.float32)[places(ids, names, path, what)])


def places(ids: Sequence[str], names: Sequence[str], path: Path, what: str) -> npt.NDArray[np.int64]:
    """Where each of ``names`` is among ``ids``; raises ``DatasetError`` unless each is there exactly once."""
    place = {name: number for number, name in enumerate(ids)}
    faults = {
        "twice": [name for number, name in enumerate(ids) if place[name] != number],
        "unknown": sorted({*ids} - {*names}),
        "missing": [name for name in names if name not in place],
    }
    if any(faults.values()):
        told = ", ".join(f"{len(found)} {fault} ({found[0]})" for fault, found in faults.items() if found)
        raise DatasetError(f"the ids of {path} are not those of the {len(names)} {what}: {told}")
    return np.array([place[name] for name in names])


def of_matrix(path: Path, split: SplitData) -> Ranking:
    """The ranks of a matrix of scores [I, C], ``.npy``, in the order of the split; higher is more similar."""
    matrix = _load(path)
    shape = len(split.paths), len(split.captions)
    if not isinstance(matrix, np.ndarray) or matrix.shape != shape or not np.issubdtype(matrix.dtype, np.floating):
        found = f"{matrix.dtype} of shape {matrix.shape}" if isinstance(matrix, np.ndarray) else "several arrays"
        raise DatasetError(f"{path} holds {found}: give floating-point scores {shape}, images by captions")

    def block(images: slice, texts: slice) -> Tensor:
        return torch.from_numpy(np.array(matrix[images, texts], dtype=np.float32))

    ranks, top = _rank(block, split)
    return Ranking(*ranks, rerank(block, split.image_of), top)


def _rank(block: Callable[[slice, slice], Tensor], split: SplitData) -> tuple[ProtocolRanks, SplitTop]:
    top = FirstItems(len(split.paths), len(split.captions))
    duplicates = duplicates_of(split.captions, split.hashes)
    ranks = rank_scores(block, split.image_of, duplicates=duplicates, top=top)
    return ranks, SplitTop(top.i2t, top.t2i)


def of_run(path: Path, split: SplitData) -> Ranking:
    """The ranks of a run in TREC's form, ``QUERY Q0 ITEM RANK SCORE TAG`` on each line, in both directions.

    A query is an image id or a caption ``IMAGE#K``, an item is of the other kind. Scores decide, not the ranks that the
    file states. An item that is not listed comes last, in a tie with all others that are not. Raises ``DatasetError``
    for an unknown id, a query or an item given twice, a score that is not a number, and a query that is missing.
    """
    images = {token(name): place for place, name in enumerate(split.image_ids)}
    captions = {token(name): place for place, name in enumerate(caption_names(split))}
    listed: tuple[dict[tuple[int, int], float], ...] = ({}, {})
    for number, line in enumerate(_lines(path), 1):
        parts = line.split()
        if len(parts) != 6:
            raise DatasetError(f"{path}, line {number}: not of the form QUERY Q0 ITEM RANK SCORE TAG")
        query, item = parts[0], parts[2]
        of_text = query in captions
        image, caption = (item, query) if of_text else (query, item)
        if image not in images or caption not in captions:
            raise DatasetError(
                f"{path}, line {number}: {query} and {item} are not an image and a caption of the test set: name "
                "images by their ids and captions IMAGE#K"
            )
        pair = images[image], captions[caption]
        score = _score(parts[4])
        if score is None or pair in listed[of_text]:
            fault = "is listed twice" if pair in listed[of_text] else f"has the score {parts[4]}, which is no number"
            raise DatasetError(f"{path}, line {number}: {item} {fault}")
        listed[of_text][pair] = score
    for side, (of, what, names) in enumerate(((0, "image", split.image_ids), (1, "caption", [*captions]))):
        missing = set(range(len(names))) - {pair[of] for pair in listed[side]}
        if missing:
            raise DatasetError(
                f"{path} answers no query for {len(missing)} of {len(names)} {what}s ({names[min(missing)]})"
            )
    (i2t, i2t_top), (t2i, t2i_top) = (_rank(_listed(pairs, split), split) for pairs in listed)
    plain, duplicate_aware = (Ranks(a.i2t, b.t2i) for a, b in zip(i2t, t2i, strict=True))
    return Ranking(plain, duplicate_aware, None, SplitTop(i2t_top.i2t, t2i_top.t2i))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DatasetError(f"{path} does not exist") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text ({error})") from None


def _score(text: str) -> float | None:
    try:
        score = float(text)
    except ValueError:
        return None
    return score if np.isfinite(score) else None


def _listed(pairs: Mapping[tuple[int, int], float], split: SplitData) -> Callable[[slice, slice], Tensor]:
    """Scores of all pairs, of which few are listed."""
    places = np.array([*pairs], dtype=np.int64)
    values = np.array([*pairs.values()], dtype=np.float32)
    # Numbered from 1, so that an entry of the sparse matrix is never 0.
    which = sparse.csr_array(
        (np.arange(1, len(values) + 1), (places[:, 0], places[:, 1])), shape=(len(split.paths), len(split.captions))
    )
    scores = torch.from_numpy(np.concatenate([[NOT_LISTED], values]).astype(np.float32))

    def block(images: slice, texts: slice) -> Tensor:
        return scores[torch.from_numpy(which[images, texts].toarray())]

    return block
