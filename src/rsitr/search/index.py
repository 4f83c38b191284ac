"""An index of pictures: their embeddings in parts on the disk, which are made once and searched exactly.

A part has the embeddings of up to 1,024 pictures, their names and stamps, and of those that cannot be read the reason.
It is written whole or not at all, so that an interrupted indexing continues. A picture that is new or has another stamp
goes into a further part; what an earlier part says of it, or of one that is gone, is passed over, and once more than
half of the rows are of that kind, all parts are written again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import faiss
import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

from rsitr.errors import DatasetError, ParamsError, RsitrError
from rsitr.external.encodings import directions
from rsitr.external.models import Encoder
from rsitr.progress import Progress
from rsitr.records.files import replacing, set_aside, write_json
from rsitr.search.pictures import Pictures

BATCH = 32
PART = 1024
FACTS = "index.json"


class Hit(NamedTuple):
    """A picture that was found."""

    name: str
    score: float
    """Cosine with the query."""


class Part(NamedTuple):
    """Some pictures of an index."""

    names: npt.NDArray[np.str_]
    """[N]"""
    stamps: npt.NDArray[np.str_]
    """[N]"""
    problems: npt.NDArray[np.str_]
    """[N]: why a picture could not be read; empty for one that could."""
    embeddings: npt.NDArray[np.float16]
    """[N, D], of unit length; 0 for a picture that could not be read."""

    def stamped(self) -> Iterator[tuple[str, str]]:
        """(name, stamp) of each."""
        return zip(self.names.tolist(), self.stamps.tolist(), strict=True)


class Index:
    """The pictures of one place by one model."""

    def __init__(self, folder: Path, pictures: Pictures, model: Encoder):
        """Raises ``ParamsError`` for a model without embeddings, and where ``folder`` is an index of something else."""
        if model.scorer.interacts:
            raise ParamsError("this model scores pairs and has no embeddings to search: name a dual encoder")
        self.folder, self.pictures, self.model = folder, pictures, model
        of = [model.facts.kind, model.facts.weights.model_dump()]
        facts = {"place": str(pictures.place.resolve()), "model": of, "format": 1}
        path = folder / FACTS
        if not path.is_file():
            write_json(path, facts)
        elif json.loads(path.read_text(encoding="utf-8")) != facts:
            raise ParamsError(f"{folder} is the index of other pictures or of another model: name another --index")
        self.names: list[str] = []
        """Those that can be searched."""
        self.lost: dict[str, str] = {}
        """Those that cannot be read, and why."""
        self.new = 0
        """How many were encoded by this process."""
        self._vectors: Any = None

    def update(self) -> Index:
        """Encode what is new or has changed, and read the rest; returns itself. One process at a time does it."""
        with FileLock(self.folder / ".lock"):
            wanted = self.pictures.stamps()
            if not wanted:
                raise DatasetError(f"{self.pictures.place} has no picture among its {self.pictures.seen:,} files")
            parts = self._parts()
            known = {name: stamp for part in parts for name, stamp in part.stamped()}
            new = [name for name, stamp in wanted.items() if known.get(name) != stamp]
            self.new = len(new)
            with self.pictures.opened(), Progress("index", len(wanted), len(wanted) - len(new)) as progress:
                for start in range(0, len(new), PART):
                    names = new[start : start + PART]
                    parts.append(self._encoded(names, [wanted[name] for name in names], progress))
                    self._write(parts[-1])
            self._read(parts, wanted)
            if 2 * len(wanted) < sum(len(part.names) for part in parts):
                self._write_again(parts, wanted)
        return self

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.npz"))

    def _parts(self) -> list[Part]:
        """All parts in their order; of one that is damaged the pictures count as new."""
        found = []
        for path in self._files():
            try:
                with np.load(path, allow_pickle=False) as file:
                    found.append(Part(*(file[name] for name in Part._fields)))
            except (OSError, ValueError, KeyError, EOFError, BadZipFile):
                print(f"{set_aside(path)} is damaged: its pictures are encoded again", file=sys.stderr)
        return found

    def _write(self, part: Part) -> None:
        last = next(reversed(self._files()), None)
        number = int(last.stem.rpartition("-")[2]) + 1 if last else 0
        with replacing(self.folder / f"part-{number:06}.npz") as partial, partial.open("wb") as file:
            np.savez(file, **part._asdict())

    def _encoded(self, names: Sequence[str], stamps: Sequence[str], progress: Progress) -> Part:
        problems, found = dict.fromkeys(names, ""), []
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            read = []
            for name in batch:
                try:
                    read.append(self.pictures.picture(name))
                except RsitrError as error:
                    problems[name] = str(error)
            if read:
                found.append(directions(self.model.encode_images(read), "image", lambda place: f"picture {place}"))
            progress.advance(steps=len(batch))
        embeddings = np.zeros((len(names), found[0].shape[1] if found else 0), dtype=np.float16)
        if found:
            embeddings[[not problem for problem in problems.values()]] = torch.cat(found).numpy()
        return Part(np.array(names), np.array(stamps), np.array([*problems.values()]), embeddings)

    def _read(self, parts: Sequence[Part], wanted: Mapping[str, str]) -> None:
        """Take in what the last part that has a picture as it is now says of it."""
        place = {
            name: (number, row)
            for number, part in enumerate(parts)
            for row, (name, stamp) in enumerate(part.stamped())
            if wanted.get(name) == stamp
        }
        for number, part in enumerate(parts):
            rows = [row for of, row in place.values() if of == number]
            self.lost |= {str(part.names[row]): str(part.problems[row]) for row in rows if part.problems[row]}
            rows = [row for row in rows if not part.problems[row]]
            if rows:
                self.names += part.names[rows].tolist()
                self._add(part.embeddings[rows])

    def _add(self, embeddings: npt.NDArray[np.float16]) -> None:
        width = embeddings.shape[1]
        if self._vectors is None:
            kind = faiss.ScalarQuantizer.QT_fp16
            self._vectors = faiss.IndexScalarQuantizer(width, kind, faiss.METRIC_INNER_PRODUCT)
        self._vectors.add(embeddings.astype(np.float32))

    def _nothing(self) -> DatasetError:
        return DatasetError(f"no picture of {self.pictures.place} can be read: {next(iter(self.lost.values()))}")

    @property
    def embeddings(self) -> npt.NDArray[np.float16]:
        """[N, D]: those of ``names``; raises ``DatasetError`` where there is none."""
        if self._vectors is None:
            raise self._nothing()
        return self._vectors.reconstruct_n(0, self._vectors.ntotal).astype(np.float16)

    def _write_again(self, parts: Sequence[Part], wanted: Mapping[str, str]) -> None:
        """Leave out what is passed over. The new parts come after the old ones until these are gone."""
        old = self._files()
        for part in parts:
            rows = [row for row, (name, stamp) in enumerate(part.stamped()) if wanted.get(name) == stamp]
            if rows:
                self._write(Part._make(column[rows] for column in part))
        for path in old:
            path.unlink()

    def search(self, queries: Tensor, count: int) -> list[list[Hit]]:
        """For each query [Q, D] the ``count`` pictures with the largest cosine, or all of fewer."""
        if self._vectors is None:
            raise self._nothing()
        if queries.shape[1] != self._vectors.d:
            raise DatasetError(f"queries have {queries.shape[1]} dimensions and pictures {self._vectors.d}")
        unit = directions(queries, "query", lambda place: f"number {place + 1}").numpy()
        scores, rows = self._vectors.search(unit, min(count, len(self.names)))
        return [
            [Hit(self.names[row], float(score)) for score, row in zip(*found, strict=True)]
            for found in zip(scores.tolist(), rows.tolist(), strict=True)
        ]
