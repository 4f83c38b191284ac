"""The wheel outside the repository: with the core alone in a bare environment, and as the source of a new project."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from rsitr.errors import ExtrasFinder
from rsitr.params import load_params
from rsitr.records.code import Sources
from tests.helpers import warm

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.slow


def needed(package: Distribution, extras: set[str], known: set[str]) -> Iterator[Distribution]:
    """The installed distributions that a distribution needs with some of its extras, each once."""
    for requirement in map(Requirement, package.requires or ()):
        wanted = requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *extras))
        if (
            wanted
            and (key := f"{requirement.name} {sorted(requirement.extras)}".lower().replace("_", "-")) not in known
        ):
            known.add(key)
            found = distribution(requirement.name)
            yield found
            yield from needed(found, requirement.extras, known)


class Bare:
    """An environment with the wheel and what its core needs, as links to what is installed here."""

    def __init__(self, folder: Path, wheel: Path):
        venv.create(folder / "env", symlinks=True)
        self.bin = folder / "env" / "bin"
        (self.packages,) = (folder / "env" / "lib").glob("python*/site-packages")
        install = ["pip", "install", "--quiet", "--offline", "--no-index", "--no-cache", "--no-deps"]
        subprocess.run([BIN / "uv", *install, "--python", self.bin / "python", wheel], check=True)
        (info,) = self.packages.glob("rsitr-*.dist-info")
        for package in needed(PathDistribution(info), set(), set()):
            for place in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
                if not (self.packages / place).exists():
                    (self.packages / place).symlink_to(Path(str(package.locate_file(place))))

    @property
    def environment(self) -> dict[str, str]:
        """No sources of the repository, no settings of the user's."""
        return {name: value for name, value in warm.offline().items() if name not in ("PYTHONPATH", "RSITR_HOME")}

    def run(self, *command: str, folder: Path, check: bool = True) -> str:
        """What a program of the environment prints."""
        whole = [self.bin / command[0], *command[1:]]
        done = subprocess.run(whole, cwd=folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out], cwd=ROOT, check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def bare(wheel: Path) -> Bare:
    return Bare(wheel.parent, wheel)


@pytest.fixture(scope="module")
def project(bare: Bare) -> Path:
    """Laid out with the core alone."""
    folder = bare.bin.parents[1] / "project"
    assert bare.run("rsitr", "init", str(folder), folder=folder.parent).startswith(f"{folder}: ")
    return folder


RANK = """
import sys
from rsitr.retrieval import rank
found = rank([[1, 0], [0, 1]], [[0, 1], [1, 0], [0.6, 0.8]], [1, 0, 0], captions=["a", "b", "c"])
print(found.plain.ranks.i2t.tolist(), found.plain.ranks.t2i.tolist(), found.ceiling.mr)
print(rank.__code__.co_filename)
"""


def test_two_matrices_are_ranked_with_the_core_alone(bare: Bare, tmp_path: Path) -> None:
    ranks, file = bare.run("python", "-c", RANK, folder=tmp_path).splitlines()
    assert ranks == "[1, 1] [1, 1, 2] 100.0"
    assert Path(file).is_relative_to(bare.packages)


ABSENT = {
    "status": ("status", "train"),
    "tables": ("tables", "site"),
    "locate --image a.tif --text b": ("locate", "locate"),
    "search . pond --model open_clip:ViT-B-32": ("search", "search"),
    "data list": ("data list", "data"),
    "dedup pairs aid ucm": ("dedup pairs", "data"),
    "captions statistics --annotation a.json": ("captions statistics", "captions"),
}
"""What is typed -> the command, and the extra that it needs."""
COMMANDS = """
import sys
from typer.testing import CliRunner
from rsitr.cli import app
for command in sys.argv[1:]:
    result = CliRunner().invoke(app, command.split())
    print(result.exit_code, result.output.strip() or repr(result.exception))
"""


def test_with_the_core_alone_every_command_names_its_extra(bare: Bare, project: Path) -> None:
    said = bare.run("python", "-c", COMMANDS, *ABSENT, folder=project).splitlines()
    for line, (command, extra) in zip(said, ABSENT.values(), strict=True):
        # Which of its packages comes first is as the imports are.
        found = re.fullmatch(rf"1 rsitr {command} needs (\S+): pip install 'rsitr\[{extra}\]'", line)
        assert found, line
        assert extra in ExtrasFinder.extras(found[1])


def test_the_command_needs_no_extra_to_explain_itself(bare: Bare, tmp_path: Path) -> None:
    assert "Usage: rsitr [OPTIONS] COMMAND [ARGS]..." in bare.run("rsitr", "--help", folder=tmp_path)


def test_the_files_of_a_project_are_no_part_of_the_code(wheel: Path, bare: Bare) -> None:
    with ZipFile(wheel) as file:
        laid_out = [name for name in file.namelist() if name.startswith("rsitr/project/")]
    assert {"rsitr/project/Snakefile", "rsitr/project/params.yaml", "rsitr/project/.gitignore"} <= {*laid_out}
    assert Sources(bare.packages / "rsitr").digest == Sources().digest


def test_snakemake_plans_the_demo_in_a_new_project(bare: Bare, project: Path) -> None:
    """With everything that is installed here, and the package from the wheel."""
    environment = bare.environment | {"PYTHONPATH": str(bare.packages)}

    def run(*command: str) -> str:
        whole = [sys.executable, "-m", *command]
        done = subprocess.run(whole, cwd=project, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    cells = {cell.path for cell in load_params(ROOT / "params.yaml").cells("demo")}
    planned = run("snakemake", "-n", "--cores", "2", "all")
    assert {*re.findall(r"results/cells/(\S+)/cell\.json", planned)} == cells
    assert "results/tables/demo/comparison.csv" in planned
    assert {*re.findall(r"│ (demo/\S+/\S+/\d+) +│ missing +│ not run yet +│", run("rsitr", "status"))} == cells
    assert not (project / "results").exists()
