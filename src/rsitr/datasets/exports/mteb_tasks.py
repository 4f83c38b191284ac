"""Image-text retrieval as MTEB loads it: corpus, queries and relevance of both directions, and its two tasks.

Images and captions are there once: what one direction searches for is what the other searches in. The dataset card
says which files are corpus and queries of ``i2t`` and ``t2i``, MTEB's subsets here.

R@K, which is hit@K, is MTEB's ``hit_rate_at_K``. Its ``recall_at_K`` is the share of an image's captions among the
first K, the same only for ``t2i``, where a query has one image. Of equal scores MTEB puts the greater id first, whether
it is relevant or not; here ties count against the method.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rsitr.datasets import get_dataset
from rsitr.datasets.exports.card import LICENCES, homepage, hub_licence
from rsitr.datasets.exports.pictures import Pictures, Row
from rsitr.datasets.table import DatasetFacts
from rsitr.records.provenance import sha256_json

ROWS = 100
"""Images of a row group: what a reader of the file has in memory at once."""
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_FEATURES = b'{"info": {"features": {"id": {"dtype": "string", "_type": "Value"}, "image": {"_type": "Image"}}}}'
"""What the library datasets reads the type of a column from."""
_IMAGES = pa.schema([("id", pa.string()), ("image", _IMAGE)], metadata={b"huggingface": _FEATURES})
_CAPTIONS = pa.schema([("id", pa.string()), ("text", pa.string())])
_RELEVANT = pa.schema([("query-id", pa.string()), ("corpus-id", pa.string()), ("score", pa.int32())])


class Caption(NamedTuple):
    """A caption as a query and a document."""

    id: str
    """``IMAGE#K``, the K-th of an image from 1."""
    text: str
    image: str


def write(splits: Mapping[str, Sequence[Row]], pictures: Pictures, facts: DatasetFacts, out: Path) -> None:
    """Write the files of all splits, by their name on the Hub, and ``mteb_tasks.py``, which defines the tasks.

    Blank captions are neither queries nor documents.
    """
    for part in ("images", "captions", "i2t-qrels", "t2i-qrels"):
        (out / part).mkdir()
    for split, rows in splits.items():
        with pq.ParquetWriter(out / f"images/{split}.parquet", _IMAGES, compression="zstd") as images:
            for start in range(0, len(rows), ROWS):
                images.write_table(_image_table(rows[start : start + ROWS], pictures))
        captions = list(_captions(rows))
        texts = [{"id": caption.id, "text": caption.text} for caption in captions]
        pq.write_table(pa.Table.from_pylist(texts, _CAPTIONS), out / f"captions/{split}.parquet")
        for direction, (query, document) in {"i2t": ("image", "id"), "t2i": ("id", "image")}.items():
            pairs = [
                {"query-id": getattr(caption, query), "corpus-id": getattr(caption, document), "score": 1}
                for caption in captions
            ]
            pq.write_table(pa.Table.from_pylist(pairs, _RELEVANT), out / f"{direction}-qrels/{split}.parquet")
    (out / "mteb_tasks.py").write_text(_tasks(facts, list(splits)), encoding="utf-8")


def _image_table(rows: Sequence[Row], pictures: Pictures) -> pa.Table:
    found = [(row["image_id"], pictures.of(row)) for row in rows]
    images = [{"bytes": picture.content, "path": pictures.named(image_id, picture)} for image_id, picture in found]
    return pa.Table.from_pydict({"id": [image_id for image_id, _ in found], "image": images}, _IMAGES)


def _captions(rows: Sequence[Row]) -> Iterator[Caption]:
    for row in rows:
        for number, text in enumerate((text for text in row["captions"] if text), start=1):
            yield Caption(f"{row['image_id']}#{number}", text, row["image_id"])


def _tasks(facts: DatasetFacts, splits: Sequence[str]) -> str:
    """The text of ``mteb_tasks.py``."""
    stem = "".join(part for part in facts.title.replace("-", " ").split() if part.isalnum()) or facts.name
    licence = hub_licence(facts.licence)
    evaluated = "test" if "test" in splits else splits[-1]
    return _TASKS.format(
        title=facts.title.replace('"', "'"),
        stem=stem,
        revision=sha256_json(facts.data_sha)[:40],
        reference=homepage(facts) or None,
        splits=[evaluated],
        licence=licence if licence in LICENCES else "not specified",
        citation=get_dataset(facts.name).citation,
    )


_TASKS = '''\
"""{title} as a pair of MTEB tasks, image to text and text to image.

    import mteb
    from mteb_tasks import TASKS

    mteb.evaluate(model, TASKS)

The recall of the field, R@K, is ``hit_rate_at_K``.
"""

from pathlib import Path

from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

ABOUT = dict(
    # Uploaded to the Hub, the path is OWNER/NAME and the revision a commit.
    dataset={{"path": str(Path(__file__).resolve().parent), "revision": {revision!r}}},
    reference={reference!r},
    type="Any2AnyRetrieval",
    modalities=["image", "text"],
    eval_splits={splits!r},
    main_score="hit_rate_at_1",
    task_subtypes=["Image Text Retrieval"],
    license={licence!r},
    # Cite: {citation}
)


class ImageToText(AbsTaskRetrieval):
    """Queries are images, documents their captions."""

    metadata = TaskMetadata(
        name="{stem}I2TRetrieval",
        description="Find the captions of a remote sensing image.",
        category="i2t",
        eval_langs={{"i2t": ["eng-Latn"]}},
        prompt={{"query": "Find a caption that describes the image."}},
        **ABOUT,
    )


class TextToImage(AbsTaskRetrieval):
    """Queries are captions, documents the images."""

    metadata = TaskMetadata(
        name="{stem}T2IRetrieval",
        description="Find the remote sensing image of a caption.",
        category="t2i",
        eval_langs={{"t2i": ["eng-Latn"]}},
        prompt={{"query": "Find the image that the caption describes."}},
        **ABOUT,
    )


TASKS = [ImageToText(), TextToImage()]
'''
