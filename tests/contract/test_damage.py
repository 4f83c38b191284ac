"""Every kind of file x every damage: `verify` names it, and its reader refuses it, says so, or has it made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rsitr.captions import similarity
from rsitr.captions.keyword_table import build_keywords, read_keywords
from rsitr.captions.similarity import CaptionSet, open_matrix, write_matrix
from rsitr.datasets.table import DATASET_SCHEMA, read_table
from rsitr.dedup.candidates import Gallery
from rsitr.dedup.near_duplicates import CACHE, write_near_duplicates
from rsitr.dedup.pairs import read_near_duplicates
from rsitr.dedup.thumbnails import read_thumbnails, write_thumbnails
from rsitr.errors import RsitrError
from rsitr.params import load_params
from rsitr.params.ids import CellId, CleanId
from rsitr.pipeline import run as running
from rsitr.pipeline.targets import Graph
from rsitr.pipeline.verify import verify
from rsitr.records.certificates import FILE as CERTIFICATES
from rsitr.records.certificates import Certificate, Ledger
from rsitr.records.files import intact, read_csv, read_json, replacing, seal, write_csv, write_json
from rsitr.records.parquet import read_rows, write_table
from rsitr.records.paths import Paths
from rsitr.records.prior import PriorSpec
from rsitr.records.tuning import TuningRecord
from rsitr.stages.evaluate import evaluate
from rsitr.stages.resume import read_state, write_state
from rsitr.stages.train import train
from tests.helpers.made import Processes

CELL = CellId("tiny", "scenes-b", "vse", 0)
CHECKPOINT, RESULTS = Paths.checkpoint(CELL), Paths.cell(CELL)
CLEAN = CleanId("scenes-b")
CAPTIONS = CaptionSet.of(["a dot", "a bar", "two dots on a bar"], np.array([0, 1, 1]))
TOKENS, STATE = Path("cache/tokens/0.npy"), CHECKPOINT / "resume.pt"
INDEX = CACHE / "0" / "1.npz"
SPEC = Path(".rsitr/specs/cells/tiny/scenes-b/vse/0.json")
TRIALS = Path(".rsitr/tuning/tiny/scenes-b/vse/trials.json")
MARKS = Paths.tables("tiny") / "leakage.training.csv"
CLIP = "scenes-b/clip/"
"""The cells that the studies are held against have no part in this."""
IDENTITY = {"code": "0"}
THUMBNAILS, NEAR = Paths.thumbnails("scenes-b"), Paths.near_duplicates("scenes-b", "scenes-b")
KEYWORDS = Paths.keywords("scenes-b")
MATRIX = Paths.similarity(CLEAN) / "bleu-1.npy"

ARTEFACTS = {
    RESULTS / "cell.json": "cells/tiny/scenes-b/vse/0",
    RESULTS / "ranks.parquet": "cells/tiny/scenes-b/vse/0",
    RESULTS / "top.parquet": "cells/tiny/scenes-b/vse/0",
    RESULTS / "history.csv": "cells/tiny/scenes-b/vse/0",
    CHECKPOINT / "model.safetensors": "cells/tiny/scenes-b/vse/0",
    CHECKPOINT / "train.json": "cells/tiny/scenes-b/vse/0",
    CHECKPOINT / "bundle.json": "cells/tiny/scenes-b/vse/0",
    Path("results/tuning/tiny/scenes-b/vse/tuning.json"): "tuning/tiny/scenes-b/vse",
    Path("results/two_stage/tiny/scenes-b/vse/chance/0/two_stage.json"): "two_stage/tiny/scenes-b/vse/chance/0",
    Path("results/peder/tiny/scenes-b/vse/0/study.json"): "peder/tiny/scenes-b/vse/0",
    Path("results/peder/tiny/scenes-b/vse/0/failures.csv"): "peder/tiny/scenes-b/vse/0",
    Path("results/scenes/tiny/mine/scenes.json"): "scenes/tiny/mine",
    Path("results/scenes/tiny/mine/left_out.csv"): "scenes/tiny/mine",
    Path("checkpoints/scenes/tiny/mine/model.safetensors"): "scenes/tiny/mine",
    Path("results/pretraining/tiny/clip/pretraining.json"): "pretraining/tiny/clip",
    Path("checkpoints/pretraining/tiny/clip/model.safetensors"): "pretraining/tiny/clip",
}
"""What `rsitr run` makes -> the artefact."""
READERS: dict[Path, Callable[[Path], Any]] = {
    Paths.dataset("scenes-b"): read_table,
    Paths.clean(CLEAN): read_table,
    THUMBNAILS: lambda path: [part if isinstance(part, str) else part[:].tolist() for part in read_thumbnails(path)],
    NEAR: lambda path: [part if isinstance(part, tuple) else part.to_dict() for part in read_near_duplicates(path)],
    KEYWORDS: read_keywords,
    MATRIX: lambda path: None if (found := open_matrix("bleu-1", CAPTIONS, path)) is None else found.tolist(),
    TOKENS: intact,
    INDEX: intact,
    STATE: lambda path: read_state(path, IDENTITY),
    TRIALS: lambda path: read_json(TuningRecord, path, sealed=True) if path.is_file() else None,
    MARKS: lambda path: read_csv(path, sealed=True),
    CERTIFICATES: lambda path: Ledger.read(path).rows,
}
"""What has a reader of its own, which returns None, False or nothing for what has to be made again."""
ABSENT = (None, False, [])
VERSIONS = {b'"version": 2': b'"version": 9', b'"format": 1': b'"format": 9'}


def here(spec: Any, path: Path, stages: Any = ()) -> None:
    """In place of ``run_process``: cells are computed in this process, all else is made up."""
    for stage in stages:
        {"train": train, "evaluate": evaluate}[stage](spec)
    if not stages:
        Processes()(spec, path)
    if isinstance(spec, PriorSpec):
        write_csv(spec.outputs[1], ("dataset", "image", "class", "reason"), [("scenes-b", "1.png", "dot", "flat")])


def described(folder: Path) -> None:
    """An experiment with one artefact of every kind."""
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    tiny = raw["experiments"]["tiny"]
    tiny["matrix"] = [
        {"datasets": ["scenes-b"], "methods": ["vse"], "seeds": [0], "settings": "tuned"},
        {"datasets": ["scenes-b"], "methods": ["chance", "clip"], "seeds": [0]},
    ]
    space = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    tiny["tuning"] = {"trials": 1, "max_steps": 6, "space": {"all": space}}
    tiny["two_stage"] = [
        {"datasets": ["scenes-b"], "scorer": "vse", "filter": "chance", "shortlists": [2], "seeds": [0]}
    ]
    tiny["priors"] = {"mine": {"datasets": ["scenes-b"]}}
    tiny["pretrained"] = {"clip": {"dataset": "scenes-b"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))


def made() -> None:
    """Everything else that an experiment leaves."""
    table, facts = read_table(Paths.clean(CLEAN))
    write_table(table.select(DATASET_SCHEMA.names), facts, Paths.dataset("scenes-b"))
    write_thumbnails(Paths.dataset("scenes-b"), THUMBNAILS)
    write_near_duplicates(THUMBNAILS, THUMBNAILS, NEAR)
    build_keywords(Paths.dataset("scenes-b"), KEYWORDS)
    write_matrix("bleu-1", CAPTIONS, MATRIX)
    with replacing(TOKENS) as partial, partial.open("wb") as file:
        np.save(file, np.arange(4000, dtype=np.float16))
    seal(TOKENS)
    Gallery.of(read_thumbnails(THUMBNAILS).pixels, within=True, kept=INDEX.parent)
    write_state(STATE, {"identity": IDENTITY, "step": 7})
    record = read_json(TuningRecord, Path("results/tuning/tiny/scenes-b/vse/tuning.json"))
    write_json(TRIALS, record, sealed=True)
    write_csv(MARKS, ("dataset", "images", "of", "training"), [("scenes-b", 1, 6, "official-none")] * 9, sealed=True)
    Ledger().add([Certificate("replay", "trained", "*", "a" * 64, "b" * 64, "c", "d", "e")])


@pytest.fixture(scope="module")
def whole(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Graph]:
    """The experiment, of which each test has a copy."""
    folder = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(template, folder)
    described(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(running, "run_process", here)
        params = load_params()
        graph = Graph(params.model_dump())
        table, facts = read_table(Paths.clean(CLEAN))
        write_table(table.select(DATASET_SCHEMA.names), facts, Paths.dataset("scenes-b"))
        patch.setattr(similarity, "measure", lambda *_: lambda texts, images: texts[:, None] / 8 + images[None, :] / 9)
        for spec in graph.specs.values():
            if CLIP in spec.place:
                continue
            assert running.run(spec).outcome.status == "ok", spec.item
        made()
    return folder, graph


@pytest.fixture
def graph(whole: tuple[Path, Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    shutil.copytree(whole[0], tmp_path / "project", ignore=shutil.ignore_patterns("locks", "images"))
    monkeypatch.chdir(tmp_path / "project")
    return whole[1]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def zeroed(content: bytes) -> bytes:
    """A page of zeros in the middle, or of a small file its second quarter."""
    start = len(content) // 4
    size = min(4096, max(start, 1))
    return content[:start] + bytes(size) + content[start + size :]


def flipped(content: bytes, part: float) -> bytes:
    """One bit of the byte that is so far into the file."""
    place = int(part * (len(content) - 1))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def of_another_version(content: bytes) -> bytes:
    for old, new in VERSIONS.items():
        content = content.replace(old, new)
    return content


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": cut,
    "zeroed": zeroed,
    "empty": lambda content: b"",
    "version": of_another_version,
    **{f"flipped at {part}": partial(flipped, part=part) for part in (0, 0.25, 0.5, 0.75, 1)},
}


def damaged(path: Path, damage: str) -> None:
    before = path.read_bytes()
    path.write_bytes(DAMAGES[damage](before))
    assert path.read_bytes() != before


def cases(paths: Iterable[Path]) -> list[Any]:
    """Each file with each damage."""
    return [
        pytest.param(path, damage, id=f"{path.parts[-2]}-{path.name}-{damage}")
        for path in paths
        for damage in DAMAGES
        if (damage != "version" or (path.suffix == ".json" and path.name != "train.json"))
    ]


def outcome(read: Callable[[], Any]) -> tuple[Any, str]:
    """What a reader returns, or what it refuses with."""
    try:
        return read(), ""
    except RsitrError as error:
        return None, str(error)


def wrong(graph: Graph) -> dict[Path, str]:
    return {damage.path: str(damage) for damage in verify(graph).damages}


def made_again(graph: Graph, item: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What `rsitr run ITEM` computes."""
    processes = Processes()
    monkeypatch.setattr(running, "run_process", processes)
    running.run(graph.specs[item])
    return processes.ran


def test_what_was_written_is_whole(graph: Graph) -> None:
    found = verify(graph)
    assert (found.damages, found.unsealed) == ([], 0)


@pytest.mark.parametrize(("path", "damage"), cases(ARTEFACTS))
def test_an_artefact(path: Path, damage: str, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged(path, damage)
    said = wrong(graph)
    assert path in said
    assert said[path].startswith(f"{path}: ")
    assert said[path].endswith(f": rm {path}; {graph.specs[ARTEFACTS[path]].command}")
    ran, refused = outcome(lambda: made_again(graph, ARTEFACTS[path], monkeypatch))
    assert str(path) in refused if refused else [item for item, *_ in ran] == [ARTEFACTS[path]]


@pytest.mark.parametrize(("path", "damage"), cases(READERS))
def test_what_has_a_reader_of_its_own(path: Path, damage: str, graph: Graph) -> None:
    before = READERS[path](path)
    damaged(path, damage)
    noticed = path in wrong(graph)
    after, refused = outcome(lambda: READERS[path](path))
    if noticed:
        assert str(path) in refused if refused else after in ABSENT
    else:
        assert (after, refused) == (before, "")


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage != "version"])
def test_damaged_keywords_are_built_again(damage: str, graph: Graph) -> None:
    before = read_rows(KEYWORDS)
    damaged(KEYWORDS, damage)
    noticed = KEYWORDS in wrong(graph)
    assert build_keywords(Paths.dataset("scenes-b"), KEYWORDS) == noticed
    assert read_rows(KEYWORDS).equals(before)


@pytest.mark.parametrize("path", ARTEFACTS, ids=lambda path: f"{path.parts[-2]}-{path.name}")
def test_a_part_of_an_artefact_is_gone(path: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    path.unlink()
    spec = graph.specs[ARTEFACTS[path]]
    # Weights of priors and pretrainings need not be here, and what is a single file is then not here at all.
    alone = spec.outputs == [path] or (path.suffix == ".safetensors" and spec.kind != "cells")
    assert (path in wrong(graph)) == (not alone)
    assert [item for item, *_ in made_again(graph, ARTEFACTS[path], monkeypatch)] == [ARTEFACTS[path]]


@pytest.mark.parametrize("path", [*READERS], ids=lambda path: f"{path.parts[-2]}-{path.name}")
def test_what_is_gone_is_no_damage(path: Path, graph: Graph) -> None:
    path.unlink()
    assert wrong(graph) == {}
    after, refused = outcome(lambda: READERS[path](path))
    assert str(path) in refused if refused else after in ABSENT


@pytest.mark.parametrize("note", [MATRIX.with_suffix(".json"), TOKENS.with_name("0.npy.sha256")], ids=str)
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_the_note_next_to_a_file(note: Path, damage: str, graph: Graph) -> None:
    path = MATRIX if note.suffix == ".json" else TOKENS
    note.unlink() if damage == "gone" else damaged(note, damage)
    assert [*wrong(graph)] == [path]
    assert READERS[path](path) in ABSENT


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage != "version"])
def test_a_damaged_seal_is_named_and_costs_nothing(damage: str, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(".rsitr/seals/cells/tiny/scenes-b/vse/0.csv")
    damaged(path, damage)
    assert [*wrong(graph)] == [path]
    assert made_again(graph, "cells/tiny/scenes-b/vse/0", monkeypatch) == []


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage != "version"])
def test_a_specification_is_written_again_before_a_run(damage: str, graph: Graph) -> None:
    before = SPEC.read_bytes()
    damaged(SPEC, damage)
    assert SPEC in wrong(graph) or damage.startswith("flipped at 0.")
    running.write_spec(graph.specs["cells/tiny/scenes-b/vse/0"])
    assert SPEC.read_bytes() == before


def test_mode_and_owner_are_no_damage(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [*ARTEFACTS, *READERS]
    before = [READERS[path](path) for path in READERS]
    for path in paths:
        path.chmod(0o444)
        if os.geteuid() == 0:
            os.chown(path, 12345, 12345)
    assert wrong(graph) == {}
    assert [READERS[path](path) for path in READERS] == before
    for path in paths:
        with replacing(path) as partial:
            partial.write_bytes(b"new")
    assert {path.read_bytes() for path in paths} == {b"new"}
