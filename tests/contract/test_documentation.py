"""What the documentation site takes from the code and the records; `make docs` builds all of it without a warning."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.contract.test_documents import KNOWN, PAGES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs/_ext/generated.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_generator_has_its_place_and_no_other_is_asked_for(generated: ModuleType) -> None:
    asked = [name for page in PAGES for name in generated.MARK.findall(page.read_text(encoding="utf-8"))]
    assert sorted(asked) == sorted(generated.GENERATORS)
    with pytest.raises(KeyError, match="nothing"):
        generated.filled("a\n<!-- generated: nothing -->\n")


def test_every_command_and_option_is_in_the_reference(generated: ModuleType) -> None:
    parts = generated.commands().split("### rsitr ")[1:]
    found = {part.splitlines()[0]: part for part in parts}
    assert found.keys() == KNOWN.keys()
    for name, command in KNOWN.items():
        for each in command.params:
            option = each.opts[0]
            assert not option.startswith("-") or f"| `{option}" in found[name], (name, option)
    clean = found["data clean"].splitlines()
    assert "rsitr data clean [OPTIONS] {dataset}" in clean
    meaning = "The rule by which near duplicates leave training. \\[default: none\\]"
    assert f"| `--dedup <none\\|remoteclip\\|copies>` | {meaning} |" in clean


def test_a_schema_is_a_table_of_its_keys(generated: ModuleType) -> None:
    block = generated.schema("params").split("### params: Block\n")[1].split("###")[0]
    assert block.startswith("\nA full grid of cells: every method on every dataset with every seed.\n\n| key |")
    assert "| key | takes | limits | default |\n|:--|:--|:--|:--|\n" in block
    assert "| `seeds` | list of integer | items ≥ 1 | required |" in block
    assert "| `dedup` | `none`, `remoteclip`, `copies` or null |  | `null` |" in block
    titles = [line for line in generated.records().splitlines() if line.startswith("### ")]
    assert {"### cell: Record", "### tuning: Trial", "### two_stage: Point"} <= {*titles}


def test_the_numbers_of_a_method_are_those_of_the_table(generated: ModuleType) -> None:
    with (ROOT / generated.NUMBERS).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "vse" and row["metric"] == "mr"]
    lines = generated.numbers("vse").splitlines()[2:]
    assert len(lines) == len(rows) > 1
    for row, line in zip(rows, lines, strict=True):
        number = f"| {float(row['mean']):.2f}" if row["mean"] else "| NA |"
        assert line.startswith(f"| {row['dataset']} | `vse")
        assert number in line
    assert generated.numbers("pir-clip") == "`laptop` has no row of it."


@pytest.mark.slow
def test_every_method_is_described(generated: ModuleType) -> None:
    from rsitr.methods import registry

    text = generated.methods()
    assert [name for name in registry() if f"**{name}**" not in text] == []
    assert 'Z. Yuan et al., "Exploring a Fine-Grained' in text
    assert "- captions of one image are never negatives of each other; in the authors' code all but the pair" in text


def test_the_contents_are_the_links_of_the_start_page(generated: ModuleType) -> None:
    page = "# T\n\n[a](a.md)\n\n## One\n\n- [B](x/b.md#c): b.\n- [C](../C.md).\n\n## None\n\ntext\n"
    tree = "```{toctree}\n:hidden:\n:caption: One\n\nx/b\n../C\n```"
    assert generated.contents(page) == tree


@pytest.mark.slow
def test_sphinx_builds_a_page_without_a_warning(tmp_path: Path) -> None:
    """The real configuration on two pages; the whole takes minutes."""
    for name in ("conf.py", "_ext/generated.py"):
        (tmp_path / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / name).write_bytes((ROOT / "docs" / name).read_bytes())
    (tmp_path / "docs/index.md").write_text("# Start\n\n## Reference\n\n- [Keys](keys.md#all): all keys.\n")
    (tmp_path / "docs/keys.md").write_text("# Keys\n\n## All\n\n<!-- generated: params -->\n")
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-c", "docs", ".", "out"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert 'url=docs/index.html"' in (out / "index.html").read_text()
    page = (out / "docs/keys.html").read_text()
    assert '<span class="pre">split_protocol</span>' in page
    assert "<table" in page
    assert "generated:" not in page
    assert 'href="keys.html#all"' in (out / "docs/index.html").read_text()
