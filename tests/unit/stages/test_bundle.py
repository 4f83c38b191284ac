"""A checkpoint's folder is all that its model needs, and a folder that is not as it was written is refused."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rsitr.captions.keyword_table import build_keywords
from rsitr.datasets.table import read_table
from rsitr.errors import QueryError, RecordError, RsitrError, WeightsMismatch, WeightsUnavailable
from rsitr.methods import get_method, registry
from rsitr.nn.backbones import ImageBackbone
from rsitr.params.ids import CleanId, NamedId
from rsitr.records.bundle import read_bundle
from rsitr.records.cell import TRAINED_FILES, Spec
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_file
from rsitr.stages.bundle import load_bundle
from rsitr.stages.encode import Encoded, encode, score_all
from rsitr.stages.evaluate import load_checkpoint
from rsitr.stages.setup import build_method, image_inputs, load_data
from rsitr.stages.train import train

BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
BERT |= {"initializer_range": 0.5}
SMALL: dict[str, Any] = {"weights": "none", "text_weights": "none", "text_options": BERT, "epochs": 1, "heads": 2}
SMALL |= {"instruction_backbone": "test_resnet", "instruction_weights": "none"}
SMALL |= {"instruction": {"layers": [1, 1, 1, 1], "width": 2}}


def evaluated(spec: Spec) -> tuple[Encoded, np.ndarray, list[Path], list[str]]:
    """The test split of a cell as its evaluation encodes and scores it, its images and its queries."""
    data = load_data(spec)
    split = data.splits["test"]
    method = build_method(spec, data)
    load_checkpoint(method, Paths.checkpoint(spec.cell) / "model.safetensors")
    encoded = encode(method, split, image_inputs(method, split, data.splits, "cpu"), "cpu")
    scores = score_all(method, encoded.images, encoded.texts[encoded.place], "cpu").numpy()
    return encoded, scores, [path.absolute() for path in split.paths], split.captions


def trained(spec: Spec) -> Path:
    """The folder of a cell's checkpoint, with that of its teacher trained before it."""
    if spec.teacher:
        trained(spec.teacher)
    report = train(spec)
    assert report.outcome.status == "ok", report.outcome
    return Paths.checkpoint(spec.cell).absolute()


@pytest.fixture
def alone(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """``alone(folder)``: a copy of a checkpoint in a folder that has nothing else; work goes on there."""

    def copied(folder: Path) -> Path:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        return Path(shutil.copytree(folder, "model"))

    return copied


@pytest.fixture
def of_method(make_spec: Callable[..., Spec], tiny_clip: str) -> Callable[..., Spec]:
    """``of_method(name)``: the spec of a small cell of any method."""

    def make(name: str, **settings: Any) -> Spec:
        cls = get_method(name)
        spec = make_spec(name)
        taught = "mtgfe" if cls.holds_teacher else ""
        given = spec.settings | SMALL | {"model": tiny_clip, "teacher": taught, "phases": []} | settings
        own = {key: value for key, value in given.items() if key in cls.Config.model_fields}
        return spec.model_copy(update={"settings": own, "teacher": make(taught, **settings) if taught else None})

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", list(registry()))
def test_every_method_is_loaded_without_its_data(name: str, of_method: Any, alone: Any) -> None:
    spec = of_method(name)
    folder = trained(spec)
    encoded, scores, images, queries = evaluated(spec)
    model = load_bundle(alone(folder))
    np.testing.assert_array_equal(model.encode_images(images), encoded.images.numpy())
    np.testing.assert_array_equal(model.encode_texts(queries), encoded.texts[encoded.place].numpy())
    if model.method.reads_pixels:
        np.testing.assert_array_equal(model.score(images, queries), scores)


SCRIPT = """
import json, sys
import numpy as np
from rsitr.stages.bundle import load_bundle

given = json.loads(sys.stdin.read())
for name, (images, texts) in given.items():
    model = load_bundle(name)
    encoded = {"images": model.encode_images(images), "texts": model.encode_texts(texts)}
    np.savez(name + ".npz", **encoded, scores=model.score(images, texts))
"""


@pytest.fixture
def keywords(project: Path) -> None:
    """The keywords of the images of the tiny project."""
    (rows, facts), path = read_table(Paths.clean(CleanId("scenes-b"))), Paths.dataset("scenes-b")
    write_table(rows, facts._replace(data_sha=facts.parent_sha), path)
    build_keywords(path, Paths.keywords("scenes-b"))


@pytest.mark.slow
def test_another_process_in_an_empty_folder_gives_the_same_numbers(
    project: Path, keywords: None, of_method: Any, tiny_bert: Path, tmp_path: Path
) -> None:
    """Of a GRU, a transformer, a CLIP, a fusion encoder, a student that holds its teacher, and queries of keywords."""
    minilm = {"text_encoder": "transformer", "text_weights": str(tiny_bert), "freeze_text": True, "image_pool": "mean"}
    specs = {
        "gru": of_method("vse++"),
        "transformer": of_method("vse", **minilm),
        "clip": of_method("clip", model="tiny-64"),
        "trained clip": of_method("clip-ft", model="tiny-64"),
        "fusion": of_method("mtgfe", freeze_backbone=True),
        "student": of_method("retrieval-filter", freeze_backbone=True, seed=1),
        "keywords": of_method("amfmn-sim", query="joint").model_copy(update={"query": "joint"}),
    }
    (tmp_path / "elsewhere").mkdir()
    expected, asked = {}, {}
    for name, spec in specs.items():
        shutil.copytree(trained(spec), tmp_path / "elsewhere" / name)
        encoded, scores, images, queries = evaluated(spec)
        expected[name] = {"images": encoded.images, "texts": encoded.texts[encoded.place], "scores": scores}
        asked[name] = [[str(path) for path in images], queries]
    for file in tiny_bert.iterdir():  # what has no address belongs next to the weights
        target = tmp_path / "elsewhere" / "transformer" / tiny_bert.name / file.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)
    command = [sys.executable, "-c", SCRIPT]
    subprocess.run(command, input=json.dumps(asked), text=True, check=True, cwd=tmp_path / "elsewhere")
    for name, arrays in expected.items():
        found = np.load(tmp_path / "elsewhere" / f"{name}.npz")
        for part, values in arrays.items():
            # The other process may multiply matrices by another library (``rsitr.nn.matrix_products``).
            np.testing.assert_allclose(found[part], values, rtol=1e-3, atol=1e-5, err_msg=f"{part} of {name}")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Those of a backbone, on this machine."""
    torch.manual_seed(1)
    state = ImageBackbone("test_resnet", "none", 32).model.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


@pytest.fixture
def frozen(weights: Path, of_method: Any, alone: Any) -> Path:
    """The checkpoint of a method whose backbone has stayed as it was, without the file of that."""
    return alone(trained(of_method("vse", image_weights=str(weights), freeze_backbone=True)))


def test_a_fixed_part_without_an_address_is_looked_for_in_the_folder(frozen: Path, weights: Path) -> None:
    with pytest.raises(
        WeightsUnavailable, match=r"own.safetensors is not at model/own.safetensors: put the file there"
    ):
        load_bundle(frozen)
    shutil.copy(weights, frozen)
    assert load_bundle(frozen).encode_texts(["a red dot"]).shape == (1, 16)


def test_another_file_of_the_same_architecture_is_refused(frozen: Path) -> None:
    torch.manual_seed(2)
    state = ImageBackbone("test_resnet", "none", 32).model.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, frozen / "own.safetensors")
    with pytest.raises(
        WeightsMismatch, match=r"other image_weights than are here: own.safetensors of own.safetensors differs"
    ):
        load_bundle(frozen)


def test_a_fixed_part_that_is_not_loaded_is_missed(frozen: Path) -> None:
    path = frozen / "bundle.json"
    raw = json.loads(path.read_bytes())
    raw["built"]["config"]["image_weights"] = "none"
    raw["pretrained"]["image_weights"]["location"] = "package://own/own.safetensors"
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(
        WeightsMismatch, match=r"other image_weights than are here: own.safetensors of package://own/own"
    ):
        load_bundle(frozen)


def test_a_part_that_has_learned_needs_no_file(weights: Path, of_method: Any, alone: Any) -> None:
    folder = trained(of_method("vse", image_weights=str(weights)))
    weights.unlink()
    model = load_bundle(alone(folder))
    assert (list(model.bundle.pretrained), model.bundle.fixed) == (["image_weights"], ())


def test_no_path_of_the_machine_is_in_it(project: Path, weights: Path, of_method: Any) -> None:
    folder = trained(of_method("vse", image_weights=str(weights), freeze_backbone=True))
    for name in ("bundle.json", "README.md"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "own.safetensors" in text
        assert str(weights.parent) not in text


def test_an_instruction_encoder_that_was_trained_here_goes_with_it(project: Path, of_method: Any, alone: Any) -> None:
    torch.manual_seed(1)
    state = ImageBackbone("test_resnet", "none", 32).model.state_dict()
    Paths.prior_weights(NamedId("tiny", "own")).parent.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in state.items()}, Paths.prior_weights(NamedId("tiny", "own")))
    spec = of_method("pir-itr-soft", instruction_weights="scenes://tiny/own", affiliation=0.0)
    folder = trained(spec)
    encoded, _, images, _ = evaluated(spec)
    model = load_bundle(alone(folder))
    assert model.bundle.pretrained["instruction_weights"].location == "scenes://tiny/own"
    np.testing.assert_array_equal(model.encode_images(images), encoded.images.numpy())


@pytest.fixture
def folder(of_method: Any, alone: Any) -> Path:
    """The checkpoint of a small cell, alone."""
    return alone(trained(of_method("vse")))


def test_its_files_are_those_of_a_checkpoint_and_as_readable_as_any(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(TRAINED_FILES)
    (folder / "other").touch()
    usual = stat.S_IMODE((folder / "other").stat().st_mode)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in TRAINED_FILES} == {usual}


def test_it_says_what_it_is(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert bundle.built is not None
    assert (bundle.built.method, bundle.built.seed, bundle.built.config["width"]) == ("vse", 0, 16)
    assert bundle.words[:3] == ("a", "ground", "on")
    assert bundle.pixels is not None
    assert bundle.pixels.size == 32
    assert bundle.weights_sha == sha256_file(folder / "model.safetensors")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# vse on scenes-b\n\nThe checkpoint of cell `tiny/scenes-b/vse/0` of rsitr.")
    assert "12 images, 24 captions" in card
    assert "generated, synthetic; licence: Apache-2.0" in card
    assert all(f"\n- {departure}\n" in card for departure in bundle.departures)
    assert f"epoch 1 of 1: mR {bundle.selection['mr']:.2f} % on 6 images of val" in card


def test_pictures_in_memory_are_as_good_as_files(folder: Path, project: Path) -> None:
    model, paths = load_bundle(folder), sorted(project.rglob("*.png"))[:3]
    pictures = [Image.open(path) for path in paths]
    np.testing.assert_array_equal(model.encode_images(pictures), model.encode_images(paths))
    with pytest.raises(QueryError, match=r"no image"):
        model.encode_images([])
    with pytest.raises(QueryError, match=r"no text"):
        model.score(paths, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw | {"format": 2}, "format: Input should be 1"),
        (lambda raw: raw | {"code": "import os"}, "code: Extra inputs are not permitted"),
        (lambda raw: raw | {"fixed": ["weights"]}, "fixed names .'weights'., of which pretrained says nothing"),
        (lambda raw: raw | {"words": None}, "words: Input should be a valid"),
        (
            lambda raw: raw | {"pretrained": {"image_weights": {"location": "../own", "files": {}}}},
            "is not the name of a",
        ),
        (
            lambda raw: raw | {"pretrained": {"image_weights": {"location": "own", "files": {"/a": ""}}}},
            "is not the name",
        ),
        (
            lambda raw: raw | {"pretrained": {"image_weights": {"location": "package://a/../b", "files": {}}}},
            "leaves the place that it names",
        ),
    ],
)
def test_a_bundle_of_another_kind_is_refused(change: Any, message: str, folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))), encoding="utf-8")
    with pytest.raises(RecordError, match=f"(?s)bundle.json cannot be read .*{message}.*train the cell again"):
        load_bundle(folder)


def test_half_a_bundle_is_refused(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RecordError, match=r"bundle.json cannot be read .*Copy the folder again"):
        load_bundle(folder)
    path.unlink()
    with pytest.raises(RecordError, match=r"model has no bundle.json: name the folder of a checkpoint, whole"):
        load_bundle(folder)


def test_weights_that_were_not_named_are_not_read_unnoticed(folder: Path, weights: Path) -> None:
    path = folder / "bundle.json"
    raw = json.loads(path.read_bytes())
    raw["built"]["config"]["image_weights"] = str(weights)
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(
        WeightsMismatch, match=r"other image_weights than are here: own.safetensors of own.safetensors differs"
    ):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda built: built | {"method": "vse+"}, r"unknown method 'vse\+'"),
        (
            lambda built: built | {"config": built["config"] | {"depth": 1}},
            "vse cannot be configured as it was trained",
        ),
        (lambda built: built | {"teacher": built}, "vse is built without a teacher"),
    ],
)
def test_a_method_that_is_not_built_so_is_refused(change: Any, message: str, folder: Path) -> None:
    path = folder / "bundle.json"
    raw = json.loads(path.read_bytes())
    path.write_text(json.dumps(raw | {"built": change(raw["built"])}), encoding="utf-8")
    with pytest.raises(RsitrError, match=message):
        load_bundle(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        WeightsMismatch, match=r"model.safetensors differs from what its training wrote: copy the whole"
    ):
        load_bundle(folder)
    path.unlink()
    with pytest.raises(WeightsMismatch, match=r"model.safetensors is missing"):
        load_bundle(folder)


def test_a_failed_training_leaves_a_bundle_that_says_so(project: Path, of_method: Any) -> None:
    spec = of_method("vse", image_weights="no/such.safetensors")
    assert train(spec).outcome.status == "skipped"
    assert all(path.is_file() for path in spec.trained_outputs)
    with pytest.raises(
        RecordError, match=r"holds no trained model: its training was skipped .weights unavailable: such"
    ):
        load_bundle(Paths.checkpoint(spec.cell))
    assert "Training was skipped: weights" in (Paths.checkpoint(spec.cell) / "README.md").read_text(encoding="utf-8")
