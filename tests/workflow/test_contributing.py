"""The worked examples of CONTRIBUTING.md, run as a newcomer would: copied into the package and used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file

from rsitr.datasets.table import read_facts
from rsitr.params import parse_params
from rsitr.retrieval.rank_files import metrics_of, read_ranks

ROOT = Path(__file__).parents[2]
METHOD, DATASET = "src/rsitr/methods/colour_words.py", "src/rsitr/datasets/harbours.py"
# Colours that the captions name; the file names carry the split.
COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (40, 70, 200), "grey": (128, 128, 128)}
SPLITS = {"train": 8, "val": 4, "test": 4}


def section(title: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.split(r"^## ", text.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), flags=re.MULTILINE | re.DOTALL)


def examples() -> dict[str, str]:
    """Path of each worked example, stated in its first line -> its source without that line."""
    titles = ("Add a method in five minutes", "Add a dataset in five minutes")
    found = [block.split("\n", 1) for title in titles for block in blocks(title, "python")]
    return {first.removeprefix("# "): source for first, source in found}


def make_archive(path: Path) -> None:
    """``harbours.zip`` in the layout that the example reads: five captions an image, of 32 pixels in one colour."""
    entries = []
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for split, count in SPLITS.items():
            for number in range(count):
                name, colour = f"{split}_{number}.png", list(COLOURS)[number % len(COLOURS)]
                with archive.open(f"harbours/images/{name}", "w") as file:
                    noise = np.random.default_rng(number).integers(-20, 20, (32, 32, 3))
                    Image.fromarray(np.uint8(noise + COLOURS[colour])).save(file, "PNG")
                raws = [f"Harbour {number} has {boats} {colour} boats ." for boats in range(5)]
                entries.append({"filename": name, "split": split, "sentences": [{"raw": raw} for raw in raws]})
        archive.writestr("harbours/dataset.json", json.dumps({"dataset": "harbours", "images": entries}))


class Project:
    """A copy of the package with both examples in it, and a folder to run it in."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copytree(ROOT / "src/rsitr", folder / "src/rsitr", ignore=shutil.ignore_patterns("__pycache__"))
        for path, source in examples().items():
            (folder / path).write_text(source, encoding="utf-8")
        # Where the example says a file goes that can only be had by hand.
        make_archive(folder / "data/raw/harbours/harbours.zip")

    def run(self, code: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "RSITR_MIRROR"}
        environment |= {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("newcomer"))


@pytest.fixture(scope="module")
def table(project: Project) -> Path:
    """The canonical table of the example, built by the commands of its second step, and its cleaned view."""
    (shell,) = blocks("Add a dataset in five minutes", "sh")
    commands = [line.split()[1:] for line in shell.splitlines()]
    assert commands == [["data", "fetch", "harbours"], ["data", "build", "harbours"]]
    commands.append(["data", "clean", "harbours"])
    project.run(f"from rsitr.cli import app\nfor words in {commands}: app(words, standalone_mode=False)")
    return project.folder / "data/canonical/harbours/dataset.parquet"


def test_each_section_shows_one_file():
    assert list(examples()) == [METHOD, DATASET]


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]], ids=" ".join)
def test_examples_follow_the_house_style(project: Project, check: list[str]):
    ruff = [sys.executable, "-m", "ruff", *check, "--no-cache", "--config", ROOT / "pyproject.toml"]
    result = subprocess.run([*ruff, METHOD, DATASET], cwd=project.folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_method_example_is_registered_by_being_there(project: Project):
    out = project.run("from rsitr.methods import __file__, entry\nprint(__file__, *entry('colour-words'))")
    here = str(project.folder / "src/rsitr/methods/__init__.py")
    assert out.split() == [here, "rsitr.methods.colour_words", "ColourWords"]


def test_dataset_example_builds_its_canonical_table(table: Path):
    facts = read_facts(table)
    assert (facts.title, facts.origin, facts.licence) == ("Harbours", "official", "CC BY 4.0")
    rows = pq.read_table(table).to_pylist()
    assert {split: sum(row["split"] == split for row in rows) for split in SPLITS} == SPLITS
    assert {row["problem"] for row in rows} == {""}
    first = rows[0]  # sorted by image id
    assert (first["image_id"], first["path"]) == ("test_0.png", "harbours/images/test_0.png")
    assert first["captions"] == [f"Harbour 0 has {boats} red boats ." for boats in range(5)]
    assert (first["width"], first["height"]) == (32, 32)


def test_matrix_of_the_method_example_is_a_block_of_params():
    (block,) = (yaml.safe_load(text) for text in blocks("Add a method in five minutes", "yaml"))
    params = parse_params({"experiment": "demo", "experiments": {"demo": {"title": "demo", "matrix": block}}})
    assert [cell.path for cell in params.cells("demo")] == [
        "demo/scenes-a/colour-words/0",
        "demo/scenes-a/colour-words/1",
    ]


@pytest.fixture(scope="module")
def cells(project: Project, table: Path) -> dict[str, Path]:
    """One epoch of the method example on the dataset example, from pixels and from cached tokens: path of each cell."""
    matrix = [{"datasets": ["harbours"], "methods": ["colour-words"], "seeds": [0]}]
    shared = {"epochs": 1, "batch_size": 8, "augment": "none"}
    settings = {"pixels": shared, "frozen": shared | {"freeze_backbone": True}}
    experiments = {
        name: {"title": name, "matrix": matrix, "settings": {"all": chosen}} for name, chosen in settings.items()
    }
    params = {"experiment": "pixels", "experiments": experiments}
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    project.run(
        "from rsitr.params import load_params\n"
        "from rsitr.pipeline.specs import spec_of\n"
        "from rsitr.stages.evaluate import evaluate\n"
        "from rsitr.stages.train import train\n"
        "params = load_params()\n"
        "for name in params.experiments:\n"
        "    spec = spec_of(params, params.cells(name)[0])\n"
        "    train(spec)\n"
        "    evaluate(spec)\n"
    )
    return {name: Path(name, "harbours/colour-words/0") for name in experiments}


@pytest.mark.parametrize("images", ["pixels", "frozen"])
def test_method_example_trains_and_is_evaluated(project: Project, cells: dict[str, Path], images: str):
    folder = project.folder / "results/cells" / cells[images]
    record = json.loads((folder / "cell.json").read_text())
    assert (record["outcome"]["status"], record["outcome"]["reason"]) == ("ok", "")
    assert record["config"]["freeze_backbone"] is (images == "frozen")
    assert record["selection"]["epoch"] == record["selection"]["epochs"] == 1
    assert 0 < metrics_of(read_ranks(folder / "ranks.parquet").ranks)["mr"] <= 100
    weights = load_file(project.folder / "checkpoints" / cells[images] / "model.safetensors")
    # 4 x 4 cells of 3 channels. Words: padding, unknown; harbour, has, boats; the digits 0 to 7; four colours.
    assert {name: value.shape for name, value in weights.items()} == {
        "image_head.weight": (128, 48),
        "image_head.bias": (128,),
        "words.weight": (2 + 3 + 8 + 4, 128),
        "log_temperature": (),
    }
