"""Fixtures that several files share: a tiny project with images, tiny models, and the mirror where there is one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import settings
from PIL import Image

from rsitr.datasets.canonical import data_sha, rows_to_frame
from rsitr.datasets.karpathy import karpathy_rows
from rsitr.datasets.table import CLEAN_SCHEMA, DatasetFacts
from rsitr.dedup.clean import clean
from rsitr.methods import catalog
from rsitr.params import REPLACED_BY_PHASES
from rsitr.params.ids import CleanId
from rsitr.records.cell import SCORED, TRAINED, Spec
from rsitr.records.parquet import write_table
from rsitr.records.paths import Paths

if TYPE_CHECKING:
    from rsitr.external.held_out import HeldOut

pytest.register_assert_rewrite("tests.helpers")

# A busy machine is no mistake, so that no example has a deadline. `make check` names the second profile.
settings.register_profile("full", deadline=None, max_examples=100)
settings.register_profile("fast", deadline=None, max_examples=20)
settings.load_profile("full")

# Small enough that an epoch of the project below takes milliseconds.
TINY_SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 0.01,
    "image_backbone": "test_resnet",
    "image_weights": "none",
    "image_size": 32,
    "text_encoder": "bigru",
    "text_width": 16,
    "word_size": 8,
    "width": 16,
    "min_count": 1,
    "augment": "none",
}
COLOURS = {
    "red": (200, 30, 30),
    "green": (30, 160, 30),
    "blue": (30, 30, 200),
    "white": (235, 235, 235),
    "black": (15, 15, 15),
    "yellow": (220, 220, 30),
}
SHAPES = {"dot": (12, 12, 20, 20), "bar": (2, 12, 30, 20), "post": (12, 2, 20, 30), "field": (2, 2, 30, 30)}


LONGEST = ("tests/unit/pipeline/test_certify.py", "tests/workflow/", "tests/contract/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: a worker that began it last would end minutes after the other."""
    items.sort(key=lambda item: next((rank for rank, path in enumerate(LONGEST) if item.nodeid.startswith(path)), 9))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give each test, and each model that several tests share, the same random weights in every run."""
    import torch

    torch.default_generator.manual_seed(0)


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of real data; a test that asks for it is marked ``mirror`` and skipped where there is none."""
    folder = os.environ.get("RSITR_MIRROR")
    if not folder:
        pytest.skip("RSITR_MIRROR does not name a mirror of the real data")
    return Path(folder)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the workers of a run make once for all of them."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def installed_meteor(shared: Path) -> Iterator[None]:
    """The tables of METEOR that are installed: to make them takes ten seconds, once for each working folder."""
    from rsitr.captions import meteor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meteor, "_installed_tables", cache(lambda: meteor.load_tables(shared / "meteor")))
        yield


@pytest.fixture(scope="module")
def once() -> Callable[[str, Callable[[], Any]], Any]:
    """``once(name, make)``: what ``make`` returns, made by the first test of a file that asks for the name."""
    made: dict[str, Any] = {}
    return lambda name, make: made[name] if name in made else made.setdefault(name, make())


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """Settings with which every trainable method is built and trained in no time."""
    return dict(TINY_SETTINGS)


@pytest.fixture(scope="session")
def schema_cache() -> dict[str, Any]:
    """The schemas of all methods, made before a test replaces the interpreter, which takes a process to make them."""
    return catalog.schemas()


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 16 dimensions with dropout and its word list, saved as transformers saves one."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "on", "ground", *COLOURS, *SHAPES]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    # With the usual range of .02 all captions would be one vector, which is an alarm.
    config = BertConfig(vocab_size=len(words), **sizes, max_position_embeddings=24, initializer_range=0.5)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a CLIP model with one layer in each tower, made known to open_clip."""
    import open_clip

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    folder = tmp_path_factory.mktemp("clip")
    (folder / "tiny-clip.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(folder)
    return "tiny-clip"


@pytest.fixture(scope="session")
def clip_folder(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 8 dimensions as transformers saves it, with the words of the tiny project."""
    from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("transformers") / "Tiny CLIP"
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    text = sizes | {"vocab_size": len(tokenizer), "max_position_embeddings": 24, "eos_token_id": tokenizer.sep_token_id}
    vision = sizes | {"image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _draw(root: Path) -> Path:
    """24 pictures of 32 pixels, a coloured shape on another colour: 12 to train on, 6 to select, 6 to test."""
    (root / "images").mkdir(parents=True)
    entries = []
    for number in range(24):
        shape = list(SHAPES)[number % 4]
        colour, ground = list(COLOURS)[number % 6], list(COLOURS)[(number % 6 + 1 + number // 6) % 6]
        picture = Image.new("RGB", (32, 32), COLOURS[ground])
        picture.paste(COLOURS[colour], SHAPES[shape])
        picture.save(root / "images" / f"{number:02}.png")
        # The second sentence is the same for several images, as in the real datasets.
        sentences = [{"raw": f"a {colour} {shape} on {ground} ground"}, {"raw": f"A {colour} {shape}."}]
        split = "train" if number < 12 else "val" if number < 18 else "test"
        entries.append({"filename": f"{number:02}.png", "split": split, "sentences": sentences, "classname": shape})
    path = root / "dataset.json"
    path.write_text(json.dumps({"images": entries}), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, schema_cache: dict[str, Any]) -> Path:
    """A project folder with params.yaml, and a cleaned table and images under the name ``scenes-b``."""
    folder = tmp_path_factory.mktemp("template")
    root = folder / Paths.extracted("scenes-b")
    frame = clean(rows_to_frame(karpathy_rows(_draw(root), image_dir="images"), root), "none")
    where = Paths.extracted("scenes-b").as_posix()
    facts = DatasetFacts("scenes-b", "Shapes", "generated", "Apache-2.0", True, where, data_sha(frame))
    table = pa.Table.from_pandas(frame, CLEAN_SCHEMA, preserve_index=False)
    write_table(table, facts, folder / Paths.clean(CleanId("scenes-b")))
    matrix = [{"datasets": ["scenes-b"], "methods": ["chance", "vse"], "seeds": [0, 1]}]
    tiny = {"title": "Tiny", "matrix": matrix, "settings": {"all": TINY_SETTINGS}}
    params = {"experiment": "tiny", "experiments": {"tiny": tiny}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny project, which is the working folder during the test."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def held_out(project: Path) -> HeldOut:
    """The test split of the tiny project: six images with two captions each, of which every second is shared."""
    from rsitr.external.held_out import of_dataset

    return of_dataset("scenes-b")


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., Spec]:
    """``make_spec(method, seed, **settings)``: the spec of a cell of the tiny project."""

    def tiny(settings: dict[str, Any]) -> dict[str, Any]:
        replaced = REPLACED_BY_PHASES if settings.get("phases") else ()
        return {name: value for name, value in TINY_SETTINGS.items() if name not in replaced} | settings

    def make(method: str = "vse", seed: int = 0, **settings: Any) -> Spec:
        return Spec(
            experiment="tiny",
            dataset="scenes-b",
            method=method,
            seed=seed,
            settings=settings if method == "chance" else tiny(settings),
            dedup="none",
            threads=1,
            code={TRAINED: "0" * 64, SCORED: "0" * 64},
        )

    return make
