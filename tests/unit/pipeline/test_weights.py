"""Which pretrained weights an experiment needs, which are here, and what a machine does that does not see them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from rsitr.errors import RsitrError
from rsitr.methods import get_method
from rsitr.methods.catalog import schemas
from rsitr.methods.configure import configure
from rsitr.params import Params, load_params
from rsitr.params.ids import CellId
from rsitr.pipeline import run
from rsitr.pipeline.specs import artefacts, open_params, spec_of
from rsitr.pipeline.targets import Graph
from rsitr.pipeline.weights import (
    SETTINGS,
    Need,
    Obtained,
    Receipt,
    caches,
    check_weights,
    here,
    settings,
    wanted,
    write_receipt,
)
from rsitr.records.cell import Record, Spec

ROOT = Path(__file__).parents[3]
BERT = Need("text", "owner/bert", "")
VSE = CellId("tiny", "scenes-b", "vse", 0)


def opened(name: str) -> Params:
    params = load_params(ROOT / "params.yaml")
    return open_params(params.model_dump() | {"experiment": name})


@pytest.fixture
def of_hub(project: Path) -> Spec:
    """A cell with a text encoder of the hub."""
    change(text_encoder="transformer", text_weights="owner/bert")
    return spec_of(load_params(), VSE)


def change(missing: str = "fail", **fields: object) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["experiments"]["tiny"]["settings"]["methods"] = {"vse": fields}
    params["experiments"]["tiny"]["missing_weights"] = missing
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def test_every_setting_of_a_method_that_names_weights_is_known() -> None:
    fields = {name for facts in schemas().values() for name in facts["schema"].get("properties", {})}
    assert {name for name in fields if re.search(r"weights$|vectors$", name)} == {*SETTINGS}


@pytest.mark.parametrize("name", ["laptop", "paper"])
def test_the_settings_are_those_that_cells_are_built_with(name: str) -> None:
    params, judged = opened(name), 0
    for cell in {cell._replace(seed=0) for cell in params.cells(name)}:
        spec, cls = spec_of(params, cell), get_method(cell.method_name)
        typed = configure(cls, cell.variant, spec.settings, cell.dataset)
        for setting in {*SETTINGS, "text_encoder", "spatial", "image_backbone"} & {*cls.Config.model_fields}:
            assert settings(spec)[setting] == getattr(typed, setting), (cell, setting)
            judged += 1
    assert judged > 100


def test_what_is_wanted_is_what_records_say_that_was_loaded() -> None:
    params, judged = opened("laptop"), 0
    for cell in params.cells("laptop"):
        spec = spec_of(params, cell).model_copy(update={"teacher": None})
        record = Record.read(ROOT / spec.record_file)
        if record and record.pretrained:
            loaded = {each.location for each in record.pretrained.values()}
            found = {location for location in loaded if not location.startswith("scenes://")}
            assert {need.location for need in wanted(spec)} == found, cell
            judged += 1
    assert judged >= 20


def test_what_paper_needs() -> None:
    params = opened("paper")
    needs = dict.fromkeys(str(need) for spec in artefacts(params, "paper") for need in wanted(spec))
    assert {"timm resnet50", "google-bert/bert-base-uncased", "torchvision squeezenet1_1"} < {*needs}
    assert {"openai RN50-quickgelu", "remoteclip-vit-l-14 ViT-L-14-quickgelu"} < {*needs}
    assert not [need for need in needs if need.startswith(("none", "scenes", "pretraining"))]
    assert len(needs) == 22


def test_a_cell_needs_what_its_teacher_does(make_spec, of_hub: Spec) -> None:
    spec = make_spec("vse++", image_weights="timm", image_backbone="resnet18")
    assert wanted(spec.model_copy(update={"teacher": of_hub})) == [Need("image", "timm", "resnet18"), BERT]


def test_text_weights_of_a_method_with_a_gru_are_not_needed(make_spec) -> None:
    assert wanted(make_spec("vse", text_encoder="gru", text_weights="owner/bert")) == []


def test_files_need_no_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSITR_MIRROR", str(tmp_path))
    places = ("mirror://weights.pt", f"{tmp_path}/weights.pt", "package://rsitr/errors.py", "package://rsitr/not.py")
    assert [here(Need("image", place, ""), Receipt()) for place in places] == [False, False, True, False]
    (tmp_path / "weights.pt").touch()
    # What was asked of this process is remembered: other names.
    places = ("mirror://./weights.pt", f"{tmp_path}/./weights.pt")
    assert [here(Need("image", place, ""), Receipt()) for place in places] == [True, True]


class TestReceipt:
    def test_it_has_what_was_obtained_and_is_where_it_was(self, project: Path, monkeypatch) -> None:
        Path("bert.safetensors").touch()
        file = str(Path("bert.safetensors").absolute())
        missing = Need("text", "owner/other", "")
        write_receipt("tiny", [Obtained(BERT, True, [file], ""), Obtained(missing, False, [], "no network")])
        receipt = Receipt.read("tiny")
        assert receipt.files == {"owner/bert": [file]}
        assert (here(BERT, receipt), here(missing, receipt)) == (True, False)
        monkeypatch.setenv("HF_HOME", str(project / "elsewhere"))
        assert not here(BERT, receipt)
        monkeypatch.undo()
        Path(file).unlink()
        assert not here(BERT, receipt)

    def test_it_is_not_touched_where_nothing_is_new(self, project: Path) -> None:
        write_receipt("tiny", [Obtained(BERT, True, [], "")])
        before = Receipt.path("tiny").stat().st_mtime_ns
        write_receipt("tiny", [Obtained(BERT, False, [], "")])
        assert Receipt.path("tiny").stat().st_mtime_ns == before

    def test_what_cannot_be_read_counts_as_none(self, project: Path) -> None:
        Receipt.path("tiny").parent.mkdir(parents=True)
        Receipt.path("tiny").write_text("{", encoding="utf-8")
        assert Receipt.read("tiny") == Receipt()

    def test_the_caches_are_those_of_the_libraries(self) -> None:
        import torch
        from huggingface_hub import constants

        assert caches() == {"hub": constants.HF_HUB_CACHE, "torch": torch.hub._get_torch_home()}


class TestGraph:
    @staticmethod
    def graph() -> Graph:
        return Graph(load_params().model_dump())

    def test_a_cell_waits_for_weights_that_are_not_known_to_be_here(self, of_hub: Spec) -> None:
        graph, receipt = self.graph(), Receipt.path("tiny").as_posix()
        assert graph.unfetched == ["cells/tiny/scenes-b/vse/0", "cells/tiny/scenes-b/vse/1"]
        assert receipt in graph.inputs_of(of_hub.item)
        assert receipt not in graph.inputs_of("cells/tiny/scenes-b/chance/0")
        assert receipt not in graph.forced  # it is not there

    def test_a_receipt_that_lacks_some_is_made_again(self, of_hub: Spec) -> None:
        write_receipt("tiny", [])
        assert Receipt.path("tiny").as_posix() in self.graph().forced

    def test_a_cell_whose_weights_are_here_waits_for_nothing(self, of_hub: Spec) -> None:
        write_receipt("tiny", [Obtained(BERT, False, [], "")])
        graph = self.graph()
        assert graph.unfetched == []
        assert graph.receipt not in [*graph.inputs_of(of_hub.item), *graph.forced]


class TestMachineThatDoesNotSeeTheCaches:
    @pytest.fixture(autouse=True)
    def fetched(self, of_hub: Spec, tmp_path: Path, monkeypatch) -> None:
        """On the login node."""
        write_receipt("tiny", [Obtained(BERT, True, [], "")])
        monkeypatch.setattr(run, "run_process", lambda *_: pytest.fail("it was begun"))

    def test_a_job_ends_with_an_error_and_leaves_no_record(self, of_hub: Spec, tmp_path: Path, monkeypatch) -> None:
        check_weights(of_hub)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "own"))
        with pytest.raises(RsitrError, match=r"^tiny/scenes-b/vse/0 needs owner/bert, fetched into .*/own/hub and .*"):
            run.run(of_hub)
        assert not of_hub.record_file.exists()

    def test_unless_cells_without_weights_are_to_be_skipped(self, of_hub: Spec, tmp_path: Path, monkeypatch) -> None:
        change("skip", text_encoder="transformer", text_weights="owner/bert")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "own"))
        check_weights(of_hub)

    def test_what_was_never_fetched_is_for_the_cell_to_say(self, of_hub: Spec) -> None:
        Receipt.path("tiny").write_text(json.dumps({"caches": {}, "files": {}}), encoding="utf-8")
        check_weights(of_hub)
