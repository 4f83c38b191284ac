"""The documents agree with the tables and with the code: numbers, links, commands."""

from __future__ import annotations

import ast
import csv
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from rsitr.cli import app

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "results" / "tables" / "laptop"
README, INDEX = ROOT / "README.md", ROOT / "docs/index.md"
PROTOCOL, COMMANDS = (ROOT / "docs" / name for name in ("protocol.md", "reference/commands.md"))
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *PAGES]
README_LINES = 150
RECALLS = ["i2t R@1", "i2t R@5", "i2t R@10", "t2i R@1", "t2i R@5", "t2i R@10"]
CEILINGS = ["dataset", *RECALLS]


def markdown_rows(path: Path, header: list[str]) -> list[list[str]]:
    """The rows of all tables with this header, without back quotes."""
    rows, inside = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        inside = line.startswith("|") and (inside or cells == header)
        if inside and cells != header and not line.startswith("|:"):
            rows.append(cells)
    return rows


def table_rows(name: str, table: str) -> list[dict[str, str]]:
    """The rows of one table of a csv file, without footnotes."""
    with (TABLES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == table]
    return [{key: re.sub(r" \[.*", "", value or "") for key, value in row.items()} for row in rows]


def anchors(path: Path) -> set[str]:
    """The names under which a browser finds the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def title(path: Path) -> str:
    """What a document is called in the output of the tests."""
    return path.relative_to(ROOT).as_posix()


def links(path: Path) -> list[str]:
    """The targets of a document's links and pictures, without addresses of the web."""
    return re.findall(r"\]\((?!https?://)([^)\s]+)\)", path.read_text(encoding="utf-8"))


def commands_of(group: typer.Typer) -> set[str]:
    """Every command of a command line, those of its groups as ``group command``."""
    names = {info.name or info.callback.__name__.replace("_", "-") for info in group.registered_commands}
    inner = ((info.name, info.typer_instance) for info in group.registered_groups)
    return names | {f"{name} {command}" for name, commands in inner for command in commands_of(commands)}


def test_ceilings_are_those_of_the_test_splits() -> None:
    found = {row["split"]: row for row in table_rows("ceiling", "Caption ceiling")}
    rows = markdown_rows(PROTOCOL, CEILINGS)
    assert [dataset for dataset, *_ in rows] == ["ucm", "rsicd", "rsitmd", "sydney"]
    for dataset, *numbers in rows:
        row = found[f"{dataset} test"]
        assert numbers == [row[f"ties against the method {recall}"] for recall in RECALLS], dataset


@pytest.mark.parametrize("path", DOCUMENTS, ids=title)
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("start", [README, INDEX], ids=title)
def test_every_page_is_linked(start: Path) -> None:
    linked = {(start.parent / link.partition("#")[0]).resolve() for link in links(start)}
    assert linked >= {*PAGES} - {start}


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= README_LINES


@pytest.mark.parametrize("path", DOCUMENTS, ids=title)
def test_commands_exist(path: Path) -> None:
    text, known = path.read_text(encoding="utf-8"), commands_of(app)
    groups = {name.split()[0] for name in known if " " in name}
    blocks = "\n".join(re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL))
    spans = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    pattern = r"rsitr\s([a-z][a-z-]*)(?:\s([a-z][a-z-]*))?"
    for first, second in re.findall(f"^{pattern}", blocks, re.MULTILINE) + re.findall(f"`{pattern}", spans):
        assert (f"{first} {second}" if first in groups and second else first) in known | groups


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if "```python" in path.read_text()], ids=title)
def test_what_python_examples_import_exists(path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    imports = [
        node for text in blocks for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert imports
    exec(compile(ast.Module(imports, []), str(path), "exec"), {})


def test_every_command_is_in_the_reference() -> None:
    text = COMMANDS.read_text(encoding="utf-8")
    missing = [name for name in commands_of(app) if f"`rsitr {name} " not in text and f"`rsitr {name}`" not in text]
    assert not missing


def test_no_word_of_a_help_is_lost() -> None:
    """Rich takes words in square brackets for markup."""
    whole: Any = typer.main.get_command(app)
    groups = [whole, *(each for each in whole.commands.values() if hasattr(each, "commands"))]
    commands = [command for group in groups for command in group.commands.values()]
    helps = [getattr(parameter, "help", "") or "" for command in commands for parameter in command.params]
    assert len(helps) > 100
    assert not [text for text in [*helps, *(command.help or "" for command in commands)] if "[" in text]
