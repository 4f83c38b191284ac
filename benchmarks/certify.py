"""What certificates cost and what they save.

    python benchmarks/certify.py edit              how often an edit asks for a certificate, from the history of git
    python benchmarks/certify.py laptop BASE       certify all of laptop since BASE; takes most of an hour

``edit`` takes the commits of ``src`` on the first-parent line up to the one before certificates, and counts after how
many of them `vse` was stale: by the hash of that time, of the syntax trees of all modules that it imports, and by the
present one. ``laptop`` is to be run where the data of laptop is; its peer is the time in the records, which is what
training everything again takes on one core.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from rsitr.params import load_params
from rsitr.pipeline.certify import Certification
from rsitr.pipeline.freshness import read
from rsitr.pipeline.judging import summary
from rsitr.pipeline.specs import artefacts, open_params
from rsitr.records.code import Sources
from rsitr.records.identity import code_sha
from table import Row, machine, print_rows, write_rows

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "benchmarks" / "certify.csv"
EDITS = 113
SHARED = ("rsitr.runtime.build_method", "rsitr.runtime.load_data", "rsitr.runtime.prepare", "rsitr.methods.vse")
TRAINED = (
    *("rsitr.train.Trainer", "rsitr.train.check_usable", "rsitr.teacher.Teacher", "rsitr.nn.seeds.derive"),
    *("rsitr.runtime.image_inputs", *SHARED),
)
SCORED = (
    *("rsitr.evaluate.inference_seconds", "rsitr.evaluate.load_checkpoint", "rsitr.evaluate.write_ranks"),
    *("rsitr.retrieval.recall.ceiling", "rsitr.retrieval.recall.text_groups", "rsitr.scoring.Scores"),
    *("rsitr.scoring.encode", *SHARED),
)
"""Where training and evaluation of `vse` began in that time; what a commit does not have yet is left out."""


def git(*arguments: str) -> bytes:
    """What a git command prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def earlier_hash(commit: str, folder: Path) -> ModuleType:
    """The module that made hashes of code before certificates."""
    path = folder / "earlier_provenance.py"
    path.write_bytes(git("show", f"{commit}:src/rsitr/provenance.py"))
    spec = importlib.util.spec_from_file_location("earlier_provenance", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packages(commits: list[str], folder: Path) -> Iterator[Path]:
    """The package folder of each commit, one at a time."""
    for commit in commits:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "src/rsitr"))) as archive:
                archive.extractall(place, filter="data")
            yield Path(place, "src", "rsitr")


def present_hash(package: Path, entries: tuple[str, ...]) -> str:
    """The identity of the code that some entries reach, of those that there are."""
    code = Sources(package)
    return code_sha(tuple(entry for entry in entries if code.find(entry)), code, None)


def edit(base: str) -> list[Row]:
    """Case ``edit``."""
    last = git("log", "--format=%H", "--diff-filter=A", "--", "src/rsitr/records/code.py").decode().split()[-1] + "^"
    commits = git("rev-list", "--first-parent", f"--max-count={EDITS + 1}", last, "--", "src").decode().split()
    with tempfile.TemporaryDirectory() as place:
        earlier = earlier_hash(last, Path(place))
        imported = ("rsitr.train", "rsitr.evaluate", "rsitr.methods.vse")
        found = [
            (
                earlier.code_sha(imported, package),
                present_hash(package, (*TRAINED, *SCORED)),
                present_hash(package, TRAINED),
            )
            for package in packages(commits, Path(place))
        ]
    before, stale, untrained = (share([each[side] for each in found]) for side in range(3))
    count = len(commits) - 1
    return [
        Row("edit", f"edits of {count} that make vse stale", "%", stale, "earlier hash", before, machine()),
        Row(
            "edit",
            f"edits of {count} that make the training of vse stale",
            "%",
            untrained,
            "earlier hash",
            before,
            machine(),
        ),
    ]


def share(hashes: list[str]) -> float:
    """After which share of the edits the hash was another, in percent."""
    changed = sum(one != other for one, other in pairwise(hashes))
    return 100 * changed / (len(hashes) - 1)


def laptop(base: str) -> list[Row]:
    """Case ``laptop``: replay and judge everything whose identity differs; writes no certificate."""
    params = open_params(load_params().model_dump() | {"experiment": "laptop"})
    records = [read(spec) for spec in artefacts(params, "laptop")]
    stages = ("features", "teacher", "train", "evaluate", "total")  # the other times are parts of these
    seconds = sum(record.seconds.get(stage, 0.0) for record in records if record for stage in stages)
    begun = time.perf_counter()
    run = Certification(base, "laptop")
    run.replay()
    verdicts = run.judge()
    taken = time.perf_counter() - begun
    print(summary(verdicts))
    return [Row("laptop", f"{len(verdicts)} configurations on 2 cores", "s", taken, "retraining", seconds, machine())]


CASES: dict[str, Callable[[str], list[Row]]] = {"edit": edit, "laptop": laptop}


def main() -> None:
    """Run the chosen case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("base", nargs="?", default="HEAD~1", help="of laptop: the commit whose records are current")
    arguments = parser.parse_args()
    rows = CASES[arguments.case](arguments.base)
    write_rows(RESULT, rows)
    print_rows("Certificates", rows)


if __name__ == "__main__":
    main()
