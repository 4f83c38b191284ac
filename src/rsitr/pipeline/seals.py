"""What the last run here has left: a hash of every record and of what is next to it, so that no byte changes unnoticed.

Weights, tables and states have hashes of their own. A record has none: one flipped digit of it would be another number
of the same form. Seals are of this machine and not in git, which has hashes of what it brings.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rsitr.errors import RecordError
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import Spec
from rsitr.records.files import read_csv, write_csv
from rsitr.records.provenance import sha256_file

FOLDER = Path(".rsitr/seals")


def seal_file(spec: ArtefactSpec) -> Path:
    """Where the hashes of an artefact's files are."""
    return FOLDER / f"{spec.item}.csv"


def sealed(spec: ArtefactSpec) -> list[Path]:
    """The files of an artefact that no other hash covers, but for the card, which people may edit."""
    return [path for path in spec.outputs if path.suffix not in (".safetensors", ".md")]


def known(spec: ArtefactSpec) -> dict[Path, str]:
    """File -> SHA-256 as the last run here has left it; empty before the first, and where that was damaged itself.

    Then nothing is known about the files, and they do not count as damaged; `rsitr verify` says so.
    """
    try:
        return {Path(row["file"]): row["sha256"] for row in read_csv(seal_file(spec), sealed=True)}
    except RecordError:
        return {}


@contextmanager
def sealing(spec: ArtefactSpec, paths: Collection[Path]) -> Iterator[None]:
    """Seal what is written to ``paths`` in the block. While it runs, and where it raises, they have no seal."""
    kept = {path: sha for path, sha in known(spec).items() if path not in paths}
    _write(spec, kept)
    yield
    _write(spec, kept | {path: sha256_file(path) for path in sealed(spec) if path in paths and path.is_file()})


def _write(spec: ArtefactSpec, seals: Mapping[Path, str]) -> None:
    rows = [(path.as_posix(), sha) for path, sha in seals.items()]
    write_csv(seal_file(spec), ("file", "sha256"), rows, sealed=True)


def broken(spec: ArtefactSpec) -> list[Path]:
    """Files of an artefact that are neither as the last run here has left them nor as git has them.

    A checkpoint that differs in both of its reports was replaced as a whole, as `dvc pull` does.
    """
    found = [path for path, sha in known(spec).items() if path.is_file() and sha256_file(path) != sha]
    if isinstance(spec, Spec) and {*spec.trained_outputs[1:3]} <= {*found}:  # train.json and bundle.json
        found = [path for path in found if path not in spec.trained_outputs]
    as_committed = committed(found) if found else {}
    return [path for path in found if not as_committed.get(path)]


def committed(paths: Iterable[Path]) -> dict[Path, bool]:
    """Of those files that the present commit has, whether they are as it has them; empty without git."""
    here = {path.as_posix(): path for path in paths if path.is_file()}
    folders = sorted({path.parts[0] for path in here.values()})
    try:
        listed = _git("ls-tree", "-r", "-z", "HEAD", "--", *folders) if here else ""
        blobs = {
            name: facts.split()[2] for facts, _, name in (line.partition("\t") for line in listed.split("\0")[:-1])
        }
        wanted = [name for name in here if name in blobs]
        hashes = _git("hash-object", "--stdin-paths", stdin="".join(f"{name}\n" for name in wanted)).split()
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {here[name]: sha == blobs[name] for name, sha in zip(wanted, hashes, strict=True)}


def _git(*arguments: str, stdin: str = "") -> str:
    return subprocess.run(["git", *arguments], input=stdin, capture_output=True, text=True, check=True).stdout
