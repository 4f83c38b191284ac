"""The documents agree with the tables and with the code: numbers, links, commands."""

from __future__ import annotations

import ast
import csv
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from rsitr.cli import app
from rsitr.datasets import known as known_datasets
from rsitr.params import parse_params
from rsitr.params.ids import CleanId
from rsitr.records.paths import Paths
from tests.helpers.commands import run

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "results" / "tables" / "laptop"
README, INDEX = ROOT / "README.md", ROOT / "docs/index.md"
PROTOCOL = ROOT / "docs/protocol.md"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
RULES = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
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


def commands_of(group: typer.Typer) -> dict[str, Any]:
    """Every command of the command line by its name, those of its groups as ``group command``."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", {})
        yield from () if inner else ((name, command),)
        for each in inner:
            yield from walk(f"{name} {each}".strip(), inner[each])

    return dict(walk("", typer.main.get_command(group)))


KNOWN = commands_of(app)


def blocks(path: Path) -> list[str]:
    """The lines of commands in a document: those of its blocks without a language or of a shell."""
    found = re.findall(r"^```(\S*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return "".join(text for language, text in found if language in ("", "sh")).replace("\\\n", " ").splitlines()


def spans(path: Path) -> list[str]:
    """The code within the lines of a document."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def words(line: str) -> list[str]:
    """The words of a command, without its environment and what follows it."""
    found = shlex.split(line, comments=True)
    while found and re.fullmatch(r"[A-Z_]+=.*", found[0]):
        del found[0]
    return found


def split_command(found: list[str]) -> tuple[str, list[str]]:
    """The command of ``rsitr`` that some words name, and the others; an empty name for a group or a placeholder."""
    for count in (2, 1):
        if (name := " ".join(found[1 : 1 + count])) in KNOWN:
            return name, found[1 + count :]
    groups = {name.split()[0] for name in KNOWN if " " in name}
    assert not found[1:2] or found[1] in {*groups, "COMMAND", "--help"}, found
    return "", []


def test_ceilings_are_those_of_the_test_splits() -> None:
    found = {row["split"]: row for row in table_rows("ceiling", "Caption ceiling")}
    rows = markdown_rows(PROTOCOL, CEILINGS)
    assert [dataset for dataset, *_ in rows] == ["ucm", "rsicd", "rsitmd", "sydney"]
    for dataset, *numbers in rows:
        row = found[f"{dataset} test"]
        assert numbers == [row[f"ties against the method {recall}"] for recall in RECALLS], dataset


def test_times_of_scoring_are_those_of_the_benchmark() -> None:
    with (ROOT / "results/benchmarks/scoring.csv").open(encoding="utf-8", newline="") as file:
        found = {row["case"]: row for row in csv.DictReader(file) if row["metric"] == "time, per pair"}
    text = " ".join((ROOT / "docs/methods.md").read_text(encoding="utf-8").split())
    scan, amfmn = found["scan-t2i"], found["amfmn-sim"]
    assert f"take `scan-t2i` {float(scan['ours']):.0f} s with" in text
    assert f"{float(scan['ratio']):.0f} times less than its formula pair by pair" in text
    assert f"takes {float(amfmn['ours']):.1f} s instead of {float(amfmn['peer_value']):.0f} s." in text


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
def test_command_lines_are_those_that_rsitr_takes(path: Path) -> None:
    for line in blocks(path):
        if re.match(r"rsitr\b", line):
            name, rest = split_command(found := words(line))
            assert name, found
            with KNOWN[name].make_context(name, rest) as context:  # raises for what it does not take
                assert not context.args


@pytest.mark.parametrize("path", DOCUMENTS, ids=title)
def test_commands_within_a_line_have_these_options(path: Path) -> None:
    for span in spans(path):
        if re.match(r"rsitr\b(?!\.)", span):
            name, rest = split_command(span.split())
            known = {option for each in KNOWN[name].params for option in each.opts} if name else set()
            assert {word for word in rest if word.startswith("--")} <= known | {"--help"}, span


@pytest.mark.parametrize("path", DOCUMENTS, ids=title)
def test_targets_of_make_and_snakemake_exist(path: Path) -> None:
    rules = {rule for file in RULES for rule in re.findall(r"^rule (\w+):", file.read_text(), re.MULTILINE)}
    made = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    params = parse_params(yaml.safe_load((ROOT / "params.yaml").read_text()))
    files = {f"results/cells/{cell.path}/cell.json" for name in params.experiments for cell in params.cells(name)}
    files |= {Paths.clean(CleanId(name)).as_posix() for name in known_datasets()} | {"FILE"}
    for line in [*blocks(path), *spans(path)]:
        if re.match(r"(RSITR|CUDA)\S+ snakemake|snakemake --(?!lint|unlock|sdm)|make\b", line):
            program, *rest = words(line)
            options = re.compile(r"-.*|.*=.*|\d+|\.\.\.")  # with the values of --cores and --config
            profiles = {word for option, word in pairwise(rest) if option == "--profile"}
            assert all((ROOT / word / "config.yaml").is_file() for word in profiles), line
            stated = rest[rest.index("--") + 1 :] if "--" in rest else rest
            targets = {word for word in stated if not options.fullmatch(word)} - profiles
            assert targets <= (made if program == "make" else rules | files), line


def test_cheap_commands_of_the_documents_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that need no data of others, in a project as ``rsitr init`` lays it out."""
    documented = {line for path in DOCUMENTS for line in (*blocks(path), *spans(path))}
    monkeypatch.chdir(tmp_path)

    def ran(line: str) -> str:
        assert line in documented
        result = run(*words(line)[1:])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert ran("rsitr init my-project").startswith("my-project: ")
    monkeypatch.chdir("my-project")
    assert "ucm" in ran("rsitr data list")
    assert "demo/scenes-a/vse/0" in ran("rsitr status")
    assert "params.schema.json" in run("schemas").stdout


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if "```python" in path.read_text()], ids=title)
def test_what_python_examples_import_exists(path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    imports = [
        node for text in blocks for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert imports
    exec(compile(ast.Module(imports, []), str(path), "exec"), {})


def test_no_word_of_a_help_is_lost() -> None:
    """Rich takes words in square brackets for markup."""
    helps = [getattr(parameter, "help", "") or "" for command in KNOWN.values() for parameter in command.params]
    assert len(helps) > 100
    assert not [text for text in [*helps, *(command.help or "" for command in KNOWN.values())] if "[" in text]
