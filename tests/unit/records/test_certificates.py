"""The ledger: chains of certificates, what a row counts for, and rows that are not used."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest

from rsitr.errors import RecordError
from rsitr.records.certificates import ANY, Certificate, Ledger
from rsitr.records.provenance import sha256_json

HEADER = "kind,part,configuration,old,new,base,head,evidence,seal"


def row(old: str, new: str, part: str = "trained", configuration: str = "cells/a#1") -> Certificate:
    return Certificate("replay", part, configuration, old, new, "base-commit", "head-commit", "evidence")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results/certificates.csv"


def connected(ledger: Ledger, old: str, new: str, part: str = "trained", configuration: str = "cells/a#1") -> bool:
    return ledger.connects(part, old, new, configuration)


def test_an_identity_is_as_good_as_itself() -> None:
    assert connected(Ledger(), "A", "A")
    assert not connected(Ledger(), "A", "B")


def test_a_chain_connects_its_ends_in_both_directions() -> None:
    ledger = Ledger([row("A", "B"), row("C", "B"), row("C", "D"), row("X", "Y")])
    for old, new in itertools.product("ABCD", repeat=2):
        assert connected(ledger, old, new)
    for old, new in itertools.product("ABCD", "XY"):
        assert not connected(ledger, old, new)
        assert not connected(ledger, new, old)
    assert connected(ledger, "Y", "X")


def test_a_circle_of_certificates_ends() -> None:
    ledger = Ledger([row("A", "B"), row("B", "C"), row("C", "A")])
    assert connected(ledger, "A", "C")
    assert not connected(ledger, "A", "D")


def test_a_certificate_is_of_one_configuration() -> None:
    ledger = Ledger([row("A", "B"), row("B", "C", configuration="cells/b#2")])
    assert connected(ledger, "A", "B")
    assert not connected(ledger, "A", "B", configuration="cells/b#2")
    assert connected(ledger, "B", "C", configuration="cells/b#2")
    for configuration in ("cells/a#1", "cells/b#2"):
        assert not connected(ledger, "A", "C", configuration=configuration), "each link has to hold for it"


def test_a_star_holds_for_every_configuration() -> None:
    ledger = Ledger([row("A", "B", configuration=ANY), row("B", "C")])
    assert connected(ledger, "A", "B", configuration="cells/b#2")
    assert connected(ledger, "A", "C")
    assert not connected(ledger, "A", "C", configuration="cells/b#2")


def test_parts_do_not_mix() -> None:
    ledger = Ledger([row("A", "B"), row("B", "C", part="scored")])
    assert not connected(ledger, "A", "B", part="scored")
    assert not connected(ledger, "A", "C")
    assert not connected(ledger, "A", "C", part="scored")


def test_rows_are_written_with_header_and_seal_and_read_again(path: Path) -> None:
    rows = [row("A", "B"), row("B", 'C, "quoted"')]
    assert Ledger().add(rows, path) == 2
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == HEADER
    seal = sha256_json(["replay", "trained", "cells/a#1", "A", "B", "base-commit", "head-commit", "evidence"])[:16]
    assert text.splitlines()[1] == f"replay,trained,cells/a#1,A,B,base-commit,head-commit,evidence,{seal}"
    ledger = Ledger.read(path)
    assert ledger.problems == []
    assert [each[:-1] for each in ledger.rows] == [each[:-1] for each in rows]
    assert connected(ledger, "A", 'C, "quoted"')


def test_a_file_that_is_not_there_has_no_rows(path: Path) -> None:
    ledger = Ledger.read(path)
    assert (ledger.rows, ledger.problems) == ([], [])


def test_rows_are_only_ever_added(path: Path) -> None:
    Ledger().add([row("A", "B")], path)
    # A row that cannot be used stays where it is, too.
    before = path.read_text(encoding="utf-8") + "replay,trained,cells/a#1,F\n"
    path.write_text(before, encoding="utf-8")
    ledger = Ledger.read(path)
    assert ledger.add([row("B", "C")], path) == 1
    text = path.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert len(text.splitlines()) == 4
    assert connected(ledger, "A", "C")
    assert connected(Ledger.read(path), "A", "C")


def test_rows_that_are_there_are_not_added_again(path: Path) -> None:
    ledger = Ledger()
    assert ledger.add([row("A", "B"), row("A", "B")], path) == 1
    assert ledger.add([row("A", "B")], path) == 0
    before = path.read_text(encoding="utf-8")
    assert Ledger.read(path).add([row("A", "B"), row("A", "B").sealed()], path) == 0
    assert path.read_text(encoding="utf-8") == before
    assert Ledger.read(path).add([row("A", "B"), row("B", "A")], path) == 1


def test_a_chain_that_was_asked_for_grows_with_new_rows(path: Path) -> None:
    ledger = Ledger([row("A", "B")])
    assert not connected(ledger, "A", "C")
    ledger.add([row("B", "C")], path)
    assert connected(ledger, "A", "C")


def test_nothing_to_add_writes_no_file(path: Path) -> None:
    assert Ledger().add([], path) == 0
    assert not path.exists()


def test_a_file_without_a_final_newline_gets_one(path: Path) -> None:
    Ledger().add([row("A", "B")], path)
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    ledger = Ledger.read(path)
    assert connected(ledger, "A", "B")
    ledger.add([row("B", "C")], path)
    found = Ledger.read(path)
    assert found.problems == []
    assert connected(found, "A", "C")
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_a_row_that_was_cut_is_named_and_not_used(path: Path) -> None:
    Ledger().add([row("A", "B"), row("B", "C"), row("X", "Y")], path)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2].rpartition(",")[0]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ledger = Ledger.read(path)
    assert ledger.problems == [f"{path}, line 3 is cut (8 of 9 fields): it is not used"]
    assert connected(ledger, "A", "B")
    assert not connected(ledger, "B", "C")
    assert connected(ledger, "X", "Y")


def test_a_row_whose_seal_was_cut_is_named_and_not_used(path: Path) -> None:
    Ledger().add([row("A", "B")], path)
    path.write_text(path.read_text(encoding="utf-8")[:-5], encoding="utf-8")
    ledger = Ledger.read(path)
    assert ledger.problems == [f"{path}, line 2 does not agree with its seal: it was edited, and is not used"]
    assert not connected(ledger, "A", "B")


@pytest.mark.parametrize("place", range(len(Certificate._fields)))
def test_a_row_that_was_edited_is_named_and_not_used(path: Path, place: int) -> None:
    Ledger().add([row("A", "B"), row("B", "C")], path)
    lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    lines[2][place] += "x"
    path.write_text("".join(",".join(line) + "\n" for line in lines), encoding="utf-8")
    ledger = Ledger.read(path)
    assert ledger.problems == [f"{path}, line 3 does not agree with its seal: it was edited, and is not used"]
    assert len(ledger.rows) == 1
    assert connected(ledger, "A", "B")
    assert not connected(ledger, "B", "C")


def test_a_row_of_our_own_making_needs_a_seal(path: Path) -> None:
    Ledger().add([row("A", "B")], path)
    with path.open("a", encoding="utf-8") as file:
        file.write("replay,trained,*,B,C,base,head,evidence,\n")
    ledger = Ledger.read(path)
    assert ledger.problems == [f"{path}, line 3 does not agree with its seal: it was edited, and is not used"]
    assert not connected(ledger, "A", "C")


def test_a_file_with_another_header_is_not_used(path: Path) -> None:
    Ledger().add([row("A", "B")], path)
    text = path.read_text(encoding="utf-8")
    for header in ("kind,part", HEADER.replace("old,new", "new,old"), ""):
        path.write_text(text.replace(HEADER, header), encoding="utf-8")
        ledger = Ledger.read(path)
        assert ledger.rows == []
        assert ledger.problems == [f"{path}: the first line has to be {HEADER}: restore it from git"]


def test_a_file_of_bytes_is_not_used(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(bytes(range(128, 256)))
    assert Ledger.read(path).problems == [f"{path}: the first line has to be {HEADER}: restore it from git"]
    # What is appended to it would never be read.
    before = path.read_bytes()
    with pytest.raises(RecordError, match=r"the first line has to be .*: restore it from git, then run again"):
        Ledger.read(path).add([row("A", "B")], path)
    assert path.read_bytes() == before


def test_the_ledger_of_this_project_can_be_used_in_full() -> None:
    path = Path(__file__).parents[3] / "results/certificates.csv"
    ledger = Ledger.read(path)
    assert ledger.problems == []
    assert len(ledger.rows) == len({each[:-1] for each in ledger.rows}) > 0


def test_a_chain_is_the_certificates_between_two_identities() -> None:
    ledger = Ledger([row("A", "B"), row("C", "B"), row("C", "D"), row("X", "Y")])
    assert ledger.chain("trained", "A", "D", "cells/a#1") == [row("A", "B"), row("C", "B"), row("C", "D")]
    assert ledger.chain("trained", "A", "A", "cells/a#1") == []
    assert ledger.chain("trained", "A", "X", "cells/a#1") is None
