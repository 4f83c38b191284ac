"""What the documentation takes from the code and the records: commands, schemas, methods with their numbers, the API.

A page says ``<!-- generated: NAME -->`` where it is to go, which a reader of the file does not see. ``docs/index.md``
also gets the table of contents that its own links describe, so that the file is a plain list on every other page.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)
NUMBERS = "results/tables/laptop/comparison.long.csv"
API = (
    "rsitr.retrieval.ranking",
    "rsitr.retrieval.recall",
    "rsitr.retrieval.statistics",
    "rsitr.retrieval.rerank",
    "rsitr.retrieval.top_files",
    "rsitr.stages.bundle",
    "rsitr.external.assess",
    "rsitr.captions.similarity",
    "rsitr.datasets.base",
    "rsitr.datasets.layouts",
    "rsitr.methods.base",
    "rsitr.params",
    "rsitr.pipeline.run",
    "rsitr.pipeline.report",
    "rsitr.pipeline.status",
    "rsitr.errors",
)
"""The public modules."""


def rst(text: str) -> str:
    """Text in reStructuredText, as docstrings are, in a page of Markdown."""
    return f"````{{eval-rst}}\n{text.strip()}\n````"


def code(text: str) -> str:
    """Text as it is, also in a table of Markdown."""
    return f"`{text.replace('|', chr(92) + '|')}`"


def plain(text: object) -> str:
    """Text on one line of Markdown, in which nothing but code in back quotes is marked up."""
    parts = " ".join(str(text).split()).replace("``", "`").split("`")
    return "".join(code(part) if odd % 2 else re.sub(r"([|<>*_\[\]])", r"\\\1", part) for odd, part in enumerate(parts))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown, without columns in which nothing stands."""
    columns = [column for column in zip(head, *rows, strict=True) if any(column[1:])]
    lines = ["| " + " | ".join(row) + " |" for row in zip(*columns, strict=True)]
    return "\n".join([lines[0], "|" + ":--|" * len(columns), *lines[1:]])


def _command(name: str, command: Any) -> Iterator[str]:
    with command.make_context(name, [], resilient_parsing=True) as context:
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        options = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    yield f"### {name}"
    yield "\n\n".join(map(plain, inspect.cleandoc(command.help or "").split("\n\n")))
    yield f"```\n{usage}\n```"
    yield table(("argument or option", "meaning"), ((code(names), plain(meaning)) for names, meaning in options))


def commands() -> str:
    """Every command of ``rsitr`` with its options, as the command line knows them."""
    from rsitr.cli import app

    blocks: list[str] = []

    def walk(name: str, command: Any) -> None:
        if hasattr(command, "commands"):
            for inner in sorted(command.commands):
                walk(f"{name} {inner}", command.commands[inner])
        else:
            blocks.extend(_command(name, command))

    walk("rsitr", typer.main.get_command(app))
    return "\n\n".join(blocks)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return code(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return ", ".join(map(code, map(str, schema["enum"])))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema['items'])}" if schema.get("items") else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"names with {_type(schema['additionalProperties'])}"
    return str(kind)


def _limits(schema: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "minItems": "items ≥"}
    return ", ".join(f"{sign} {schema[key]}" for key, sign in signs.items() if key in schema)


def schema(name: str) -> str:
    """Every object of a JSON schema of ``workflow/schemas``: its keys, what they take, their defaults and limits."""
    whole = json.loads((ROOT / f"workflow/schemas/{name}.schema.json").read_text(encoding="utf-8"))
    blocks: list[str] = []
    for title, part in {whole["title"]: whole, **whole.get("$defs", {})}.items():
        blocks += [f"### {name}: {title}", plain(part.get("description", ""))]
        required = part.get("required", ())
        rows = []
        for key, field in part.get("properties", {}).items():
            default = "required" if key in required else code(json.dumps(field.get("default")))
            rows.append((code(key), _type(field), _limits(field), default, plain(field.get("description", ""))))
        if rows:
            blocks.append(table(("key", "takes", "limits", "default", "meaning"), rows))
    return "\n\n".join(filter(None, blocks))


def records() -> str:
    """The schemas of all records."""
    names = sorted(path.name.partition(".")[0] for path in (ROOT / "workflow/schemas").glob("*.json"))
    return "\n\n".join(schema(name) for name in names if name != "params")


def numbers(method: str) -> str:
    """The mR of a method's rows of the table ``comparison`` of ``laptop``; says so where there is none."""
    with (ROOT / NUMBERS).open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["method"] == method and row["metric"] == "mr"]
    rows = []
    for row in found:
        spread = f" ± {float(row['std']):.2f}" if row["std"] else ""
        mean = f"{float(row['mean']):.2f}{spread}" if row["mean"] else "NA"
        name = "@".join(filter(None, (row["method"], row["variant"])))
        rows.append((row["dataset"], code(name), row["role"], row["seeds"], mean, row["published"], row["status"]))
    if not rows:
        return "`laptop` has no row of it."
    return table(("dataset", "method", "role", "seeds", "mR", "published", "state"), rows)


def methods() -> str:
    """Every method: what its module and its class say, its departures, its variants and its numbers."""
    from rsitr.methods import get_method, registry
    from rsitr.methods.catalog import schemas

    blocks: list[str] = []
    modules: dict[str, list[str]] = {}
    for name, where in registry().items():
        modules.setdefault(where.module, []).append(name)
    for module, names in modules.items():
        blocks += [f"### {', '.join(names)}", rst(inspect.getdoc(importlib.import_module(module)) or "")]
        for name in names:
            method, facts = get_method(name), schemas()[name]
            blocks += [f"**{name}**", rst(inspect.getdoc(method) or "")]
            variants = ", ".join(code(f"@{each}") for each in facts["variants"])
            departures = facts["differences"][""]
            blocks.append(f"Variants: {variants or 'none'}.")
            said = [f"- {plain(each)}" for each in departures] or ["- none"]
            blocks.append("\n".join(["Departures of the defaults from what was published:", "", *said]))
            blocks.append(numbers(name))
    return "\n\n".join(blocks)


def api() -> str:
    """The public modules, from their docstrings."""
    return "\n\n".join(f"## {name}\n\n" + rst(f".. automodule:: {name}\n   :members:") for name in API)


GENERATORS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "params": lambda: schema("params"),
    "records": records,
    "methods": methods,
    "api": api,
}


def contents(index: str) -> str:
    """The table of contents that the lists of links under the headings of a page describe."""
    trees = []
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        pages = re.findall(r"^- \[[^\]]*\]\(([^)#]+)\.md[)#]", section, re.MULTILINE)
        if pages:
            lines = "\n".join(pages)
            trees.append(f"```{{toctree}}\n:hidden:\n:caption: {section.splitlines()[0]}\n\n{lines}\n```")
    return "\n\n".join(trees)


def filled(text: str) -> str:
    """A page with everything generated in it; raises ``KeyError`` for a name that nothing generates."""
    return MARK.sub(lambda mark: GENERATORS[mark[1]](), text)


def read(app: Any, name: str, source: list[str]) -> None:
    """Fill in a page that Sphinx reads; those that no list of links names are not missed."""
    source[0] = filled(source[0])
    if name == app.config.root_doc:
        source[0] += "\n" + contents(source[0])
    elif name in ("README", "SECURITY") or name.startswith(("results/", "src/")):
        source[0] = f"---\norphan: true\n---\n{source[0]}"


def start_page(app: Any, error: Exception | None) -> None:
    """Let the folder of the site open on the start page."""
    if error is None:
        to = f"{app.config.root_doc}.html"
        page = f'<!doctype html>\n<meta charset="utf-8">\n<meta http-equiv="refresh" content="0; url={to}">\n'
        page += f'<title>rsitr</title>\n<a href="{to}">Documentation</a>\n'
        (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", read)
    app.connect("build-finished", start_page)
    return {"parallel_read_safe": True}
