"""params.yaml: what it may say, and what the message is when it says something else."""

from __future__ import annotations

import json
from copy import deepcopy
from subprocess import CompletedProcess

import pytest
import yaml

from rsitr.errors import ParamsError
from rsitr.methods import catalog
from rsitr.params import load_params, parse_params
from rsitr.params.ids import CellId, CleanId
from rsitr.pipeline.specs import open_params
from rsitr.records.code import Sources

MATRIX = "experiments.lab.matrix"
BLOCK = {"datasets": ["ucm"], "methods": ["vse"], "seeds": [0]}
JOINT = BLOCK | {"split_protocol": "ret-3"}
GOOD = {
    "experiment": "lab",
    "experiments": {
        "lab": {
            "title": "The lab",
            "matrix": [
                {"datasets": ["scenes-a", "scenes-b"], "methods": ["vse"], "seeds": [0, 1]},
                {"datasets": ["scenes-a"], "methods": ["chance", "vse"], "seeds": [1]},
            ],
            "settings": {
                "all": {"epochs": 1, "width": 10, "margin": 0.1},
                "datasets": {"scenes-a": {"width": 20}},
                "methods": {"vse": {"margin": 0.2, "epochs": 7}, "vse@vit-bert": {"margin": 0.3}},
            },
        }
    },
}


def edited(path, value):
    """``GOOD`` with the value at a dotted path replaced."""
    raw = deepcopy(GOOD)
    place = raw
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for key in parents:
        place = place[key]
    place[last] = value
    return raw


def test_cells_come_in_table_order_and_once():
    assert parse_params(GOOD).cells("lab") == [
        CellId("lab", "scenes-a", "vse", 0),
        CellId("lab", "scenes-a", "vse", 1),
        CellId("lab", "scenes-b", "vse", 0),
        CellId("lab", "scenes-b", "vse", 1),
        CellId("lab", "scenes-a", "chance", 1),
    ]


def test_datasets_and_methods_come_in_order_of_first_mention():
    lab = parse_params(GOOD)["lab"]
    assert (lab.datasets, lab.methods) == (["scenes-a", "scenes-b"], ["vse", "chance"])


def test_a_block_says_what_its_cells_are_trained_on():
    raw = edited("experiments.lab.matrix.0.split_protocol", "swan")
    raw["experiments"]["lab"] |= {"dedup": "copies"}
    raw["experiments"]["lab"]["matrix"][1] |= {"methods": ["chance"], "dedup": "none"}
    params = parse_params(raw)
    found = {cell.path: params.clean(cell).name for cell in params.cells("lab") if cell.seed == 1}
    assert found == {
        "lab/scenes-a/vse/1": "swan-copies",
        "lab/scenes-b/vse/1": "swan-copies",
        "lab/scenes-a/chance/1": "official-none",
    }
    # Outside the matrix: what the experiment says.
    assert params.clean(CellId("lab", "scenes-b", "vse", 9)) == CleanId("scenes-b", "official", "copies")


def test_a_cell_is_trained_on_one_set():
    params = parse_params(edited("experiments.lab.matrix.0.split_protocol", "swan"))
    with pytest.raises(ParamsError, match="lab/scenes-a/vse/1 has two training sets, swan-none and official-none"):
        params.cells("lab")


def test_a_method_is_main_unless_its_block_says_otherwise():
    raw = edited("experiments.lab.matrix.1", BLOCK | {"methods": ["vse@tel"], "role": "ablation"})
    params = parse_params(raw)
    roles = {cell.path: params.role(cell) for cell in params.cells("lab") if cell.seed == 0}
    assert roles == {"lab/scenes-a/vse/0": "main", "lab/scenes-b/vse/0": "main", "lab/ucm/vse@tel/0": "ablation"}
    # A seed that the matrix does not have is of the same role, a method that it does not have is main.
    assert params.role(CellId("lab", "ucm", "vse@tel", 9)) == "ablation"
    assert params.role(CellId("lab", "scenes-a", "vse@tel", 0)) == "main"


def test_a_method_may_have_another_role_on_another_dataset_but_not_on_the_same():
    other = {"methods": ["vse"], "seeds": [7], "role": "sweep"}
    assert parse_params(edited("experiments.lab.matrix.1", {"datasets": ["ucm"]} | other))["lab"].methods == ["vse"]
    message = "experiments.lab: Value error, matrix: vse on scenes-b has two roles, main and sweep: give "
    with pytest.raises(ParamsError, match=message):
        parse_params(edited("experiments.lab.matrix.1", {"datasets": ["ucm", "scenes-b"]} | other))


def test_members_of_a_joint_set_are_sources():
    raw = edited("experiments.lab.matrix.0.split_protocol", "ret-3")
    raw["experiments"]["lab"]["matrix"][0]["datasets"] = ["ucm"]
    assert parse_params(raw)["lab"].sources == ["rsicd", "rsitmd"]


def test_identity_of_a_cell():
    cell = CellId("lab", "ucm", "vse++@amfmn", 2)
    assert (cell.path, cell.method_name, cell.variant) == ("lab/ucm/vse++@amfmn/2", "vse++", "amfmn")
    assert CellId("lab", "ucm", "vse++", 2).variant == ""


@pytest.mark.parametrize(
    ("dataset", "method", "expected"),
    [
        ("scenes-a", "vse", {"epochs": 7, "width": 20, "margin": 0.2}),
        ("scenes-b", "vse", {"epochs": 7, "width": 10, "margin": 0.2}),
        ("scenes-b", "vse@vit-bert", {"epochs": 7, "width": 10, "margin": 0.3}),
        ("scenes-b", "chance", {"epochs": 1, "width": 10, "margin": 0.1}),
    ],
)
def test_later_levels_win(dataset, method, expected):
    fields = {"epochs", "width", "margin"}
    assert parse_params(GOOD).overlay(CellId("lab", dataset, method, 0), fields) == expected


def test_a_shared_setting_reaches_methods_that_have_the_field_and_an_exact_one_reaches_its_own():
    params = parse_params(GOOD)
    assert params.overlay(CellId("lab", "scenes-b", "chance", 0), set()) == {}
    assert params.overlay(CellId("lab", "scenes-b", "vse", 0), {"width"}) == {"width": 10, "margin": 0.2, "epochs": 7}


def test_phases_replace_what_more_general_settings_say_of_a_training_without_them():
    phases = [{"epochs": 2, "learning_rate": 0.1}]
    raw = edited("experiments.lab.settings.methods.vse", {"phases": phases})
    raw["experiments"]["lab"]["settings"]["all"]["learning_rate"] = 0.5
    cell, fields = CellId("lab", "scenes-b", "vse", 0), {"epochs", "width", "learning_rate"}
    assert parse_params(raw).overlay(cell, fields) == {"width": 10, "phases": phases}
    raw["experiments"]["lab"]["settings"]["cells"] = {"scenes-b/vse": {"phases": [], "epochs": 4}}
    assert parse_params(raw).overlay(cell, fields) == {"width": 10, "phases": [], "epochs": 4}


@pytest.mark.parametrize(("schedule", "kept"), [("cosine", {}), ("plateau", {"patience": 5, "drops": 2})])
def test_another_schedule_replaces_what_more_general_settings_say_of_plateaus(schedule, kept):
    raw = edited("experiments.lab.settings.methods.vse", {"schedule": schedule})
    raw["experiments"]["lab"]["settings"]["all"] |= {"schedule": "plateau", "patience": 5, "drops": 2}
    cell, fields = CellId("lab", "scenes-b", "vse", 0), {"schedule", "patience", "drops"}
    assert parse_params(raw).overlay(cell, fields) == {"schedule": schedule} | kept


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("experiments.lab.threads", "4", "experiments.lab.threads: Input should be a valid integer"),
        ("experiments.lab.threads", 0, "experiments.lab.threads: Input should be greater than or equal to 1"),
        ("experiments.lab.matrix.0.seeds", 3, "experiments.lab.matrix.0.seeds: Input should be a valid list"),
        ("experiments.lab.matrix.0.seeds", [0.5], "experiments.lab.matrix.0.seeds.0: Input should be a valid integer"),
        ("experiments.lab.matrix.0.seeds", [-1], "experiments.lab.matrix.0.seeds.0: Input should be greater than"),
        ("experiments.lab.matrix.0.seeds", [True], "experiments.lab.matrix.0.seeds.0: Input should be a valid integer"),
        ("experiments.lab.matrix.0.datasets", [], "experiments.lab.matrix.0.datasets: List should have at least 1"),
        ("experiments.lab.matrix.0.methods", ["VSE"], "'VSE' is not of the form name or name@variant"),
        ("experiments.lab.matrix.0.methods", ["../x"], "'../x' is not of the form"),
        ("experiment", "../lab", "experiment: String should match pattern"),
        ("experiments.lab.matrix.0.datasets", ["Scenes"], "experiments.lab.matrix.0.datasets.0: String should match"),
        ("experiments.lab.matrix.0.datasets", [".."], "experiments.lab.matrix.0.datasets.0: String should match"),
        ("experiments.lab.pretraining", ["a/b"], "experiments.lab.pretraining.0: String should match pattern"),
        ("experiments.lab.dedup", "phash", "experiments.lab.dedup: Input should be 'none', 'remoteclip' or 'copies'"),
        ("experiments.lab.matrix.0.role", "best", "experiments.lab.matrix.0.role: Input should be 'main', 'ablation'"),
        ("experiments.lab.sedds", [0], "experiments.lab.sedds: Extra inputs are not permitted"),
        ("strict", "yes", "strict: Input should be a valid boolean"),
        ("experiments.lab.settings.methods.vse", [], "experiments.lab.settings.methods.vse: Input should be a valid"),
    ],
)
def test_a_mistake_is_named_by_its_place(path, value, message):
    with pytest.raises(ParamsError) as caught:
        parse_params(edited(path, value))
    assert message in str(caught.value)
    assert str(caught.value).startswith("params.yaml is not valid:\n")


@pytest.mark.parametrize("name", ["Lab", "../lab", "lab/b", "", "-lab", "a lab"])
def test_a_name_that_cannot_be_part_of_a_path_is_refused(name):
    raw = deepcopy(GOOD)
    raw["experiments"][name] = raw["experiments"]["lab"]
    with pytest.raises(ParamsError, match="String should match pattern"):
        parse_params(raw)
    raw = deepcopy(GOOD)
    raw["experiments"]["lab"]["priors"] = {name: {"datasets": ["aid"]}}
    with pytest.raises(ParamsError, match="String should match pattern"):
        parse_params(raw)


def test_all_mistakes_are_listed_at_once():
    raw = edited("strict", 3)
    raw["experiments"]["lab"]["threads"] = "many"
    with pytest.raises(ParamsError) as caught:
        parse_params(raw)
    assert len(str(caught.value).splitlines()) == 3


def test_unknown_experiment_lists_the_known_ones():
    with pytest.raises(ParamsError, match=r"unknown experiment 'shop': params\.yaml has lab"):
        parse_params(GOOD)["shop"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no project in .*, since params.yaml is missing"),
        ("experiment: [", "is not valid YAML"),
        ("- experiment", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("experiment: lab", "experiments: Field required"),
    ],
)
def test_unreadable_files(text, message, tmp_path):
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=message):
        load_params(path)


def test_the_file_of_the_project_is_valid(schema_cache, request):
    raw = yaml.safe_load((request.config.rootpath / "params.yaml").read_text(encoding="utf-8"))
    for experiment in raw["experiments"]:
        assert open_params(raw | {"experiment": experiment}).cells(experiment)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("experiments.lab.matrix.0.datasets", ["atlantis"], "unknown dataset 'atlantis': the known ones are aid, "),
        ("experiments.lab.matrix.0.methods", ["vsee"], "unknown method 'vsee': the known ones are amfmn-fusion, "),
        ("experiments.lab.matrix.0.methods", ["vse@vit"], "vse has no variant 'vit' (deit-bert, joint, keywords, "),
        ("experiments.lab.settings.all", {"width": "ten"}, "method vse: width: 'ten' is not of type 'integer'"),
        ("experiments.lab.settings.all", {"width": 0}, "method vse: width: 0 is less than the minimum of 1"),
        ("experiments.lab.settings.methods.vse", {"optimizer": "sgd"}, "method vse: optimizer: 'sgd' is not one of"),
        ("experiments.lab.settings.methods.vse", {"epoch": 3}, "method vse: vse: Additional properties are not"),
        ("experiments.lab.settings.methods.clip", {}, "settings.methods names ['clip'], which its matrix does not"),
        (
            MATRIX,
            [BLOCK | {"split_protocol": "swan"}],
            "split protocol swan is not defined on ucm: use it on rsicd, r",
        ),
        (MATRIX, [JOINT | {"methods": ["vse@keywords"]}], "lab/ucm/vse@keywords/0 reads keywords, and ret-3 trains on"),
        (
            MATRIX,
            [JOINT | {"methods": ["lw-mcr@distilled"]}, BLOCK | {"methods": ["amfmn-soft"]}],
            "amfmn-soft learns from official-none and cannot teach lw-mcr@distilled, which learns from ret-3-none: gi",
        ),
        ("experiments.lab.settings.datasets.ucm", {}, "settings.datasets names ['ucm'], which its matrix does not"),
    ],
)
def test_methods_datasets_and_settings_are_checked_before_anything_runs(path, value, message, schema_cache):
    raw = edited(path, value)
    if "vse@vit-bert" not in value:
        raw["experiments"]["lab"]["settings"]["methods"].pop("vse@vit-bert", None)
    if path == MATRIX:
        raw["experiments"]["lab"]["settings"] = {}
    with pytest.raises(ParamsError) as caught:
        open_params(raw)
    assert message in str(caught.value)


def test_a_variant_may_be_named_in_params(schema_cache):
    raw = edited("experiments.lab.matrix.1.methods", ["vse@mine"])
    raw["experiments"]["lab"]["settings"]["methods"] = {"vse@mine": {"margin": 0.5}}
    assert CellId("lab", "scenes-a", "vse@mine", 1) in open_params(raw).cells("lab")


def test_the_schemas_of_methods_are_made_once_for_the_sources(tmp_path, monkeypatch, schema_cache):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    started = []

    def process(command, **_):
        started.append(command)
        return CompletedProcess(command, 0, json.dumps(schema_cache), "")

    monkeypatch.setattr(catalog.subprocess, "run", process)
    read = catalog.schemas.__wrapped__  # without what this process remembers
    assert read() == read() == schema_cache
    assert len(started) == 1
    [file] = (tmp_path / "rsitr").iterdir()
    file.write_text("{", encoding="utf-8")  # a damaged file is made again
    assert read() == read() == schema_cache
    assert len(started) == 2
    monkeypatch.setattr(catalog, "sources", lambda: Sources(tmp_path))
    assert read() == schema_cache
    assert len(started) == 3
