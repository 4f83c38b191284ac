"""``results/certificates.csv``: which identities of code are as good as which others, and how that is known.

A certificate says that two identities compute the same numbers for one configuration. Rows are only ever added. A
record is current when a chain of certificates connects its identity with the present one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rsitr.errors import RecordError
from rsitr.records.files import replacing
from rsitr.records.provenance import sha256_json

FILE = Path("results/certificates.csv")
ANY = "*"
"""The configuration of a certificate that holds for all."""


class Certificate(NamedTuple):
    """One row."""

    kind: str
    """``replay``: both trees computed the same of a slice, bit for bit. ``repetition``: one seed was computed again,
    whole, and is the same. ``migration``: the same code under another hash."""
    part: str
    """Of the identity: parameters, trained, scored, code."""
    configuration: str
    """As ``ArtefactSpec.configuration``, or ``*``."""
    old: str
    new: str
    base: str
    """The commit that ``old`` was computed at."""
    head: str
    """The commit that ``new`` was computed at."""
    evidence: str
    """Of a replay, the hash of its trace, and of a repetition that of its record; else what shows that both are the
    same."""
    seal: str = ""
    """Hash of the other fields: a row that was cut or edited is not used."""

    def sealed(self) -> Certificate:
        """The row with its seal."""
        return self._replace(seal=sha256_json(self[:-1])[:16])


class Ledger:
    """The certificates of a project."""

    def __init__(self, rows: Iterable[Certificate] = (), problems: Iterable[str] = ()):
        self.rows, self.problems = list(rows), list(problems)

    @classmethod
    def read(cls, path: Path = FILE) -> Ledger:
        """Read the file, if there is one. ``problems`` names each row that cannot be used, and why."""
        rows: list[Certificate] = []
        problems: list[str] = []
        if not path.is_file():
            return cls()
        lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8", errors="replace")))
        if next(lines, []) != list(Certificate._fields):
            return cls((), [f"{path}: the first line has to be {','.join(Certificate._fields)}: restore it from git"])
        for fields in lines:
            where = f"{path}, line {lines.line_num}"
            if len(fields) != len(Certificate._fields):
                problems.append(f"{where} is cut ({len(fields)} of {len(Certificate._fields)} fields): it is not used")
                continue
            row = Certificate(*fields)
            if row.sealed() != row:
                problems.append(f"{where} does not agree with its seal: it was edited, and is not used")
                continue
            rows.append(row)
        return cls(rows, problems)

    def add(self, rows: Iterable[Certificate], path: Path = FILE) -> int:
        """Append certificates that are not there yet; returns how many.

        Raises ``RecordError`` for a file whose first line is damaged: nobody would read what is appended to it.
        """
        known = {row[:-1] for row in self.rows}
        fresh = [row.sealed() for row in dict.fromkeys(rows) if row[:-1] not in known]
        if not fresh:
            return 0
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        before = path.read_bytes() if path.is_file() else b""  # rows that cannot be used stay as they are
        header = ",".join(Certificate._fields)
        if not before:
            writer.writerow(Certificate._fields)
        elif before.partition(b"\n")[0] != header.encode():
            raise RecordError(f"{path}: the first line has to be {header}: restore it from git, then run again")
        elif not before.endswith(b"\n"):
            buffer.write("\n")
        writer.writerows(fresh)
        with replacing(path) as partial:
            partial.write_bytes(before + buffer.getvalue().encode())
        self.rows += fresh
        self.__dict__.pop("_edges", None)
        return len(fresh)

    @cached_property
    def _edges(self) -> dict[tuple[str, str], list[tuple[str, Certificate]]]:
        """(part, identity) -> the other identity and its certificate, in both directions."""
        edges: dict[tuple[str, str], list[tuple[str, Certificate]]] = {}
        for row in self.rows:
            edges.setdefault((row.part, row.old), []).append((row.new, row))
            edges.setdefault((row.part, row.new), []).append((row.old, row))
        return edges

    def connects(self, part: str, old: str, new: str, configuration: str) -> bool:
        """Whether an identity is, or is certified to be as good as, another one for a configuration."""
        return self.chain(part, old, new, configuration) is not None

    def chain(self, part: str, old: str, new: str, configuration: str) -> list[Certificate] | None:
        """The certificates that connect two identities for a configuration; none of equal ones, None without any."""
        seen = {old}
        waiting: list[tuple[str, list[Certificate]]] = [(old, [])]
        while waiting:
            identity, chain = waiting.pop()
            if identity == new:
                return chain
            for other, row in self._edges.get((part, identity), ()):
                if row.configuration in (ANY, configuration) and other not in seen:
                    seen.add(other)
                    waiting.append((other, [*chain, row]))
        return None
