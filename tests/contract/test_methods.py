"""What every registered method keeps to, in every variant: a citation, a typed configuration, shapes and gradients."""

from __future__ import annotations

import inspect
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from rsitr.datasets import registry as datasets
from rsitr.datasets.table import DatasetFacts
from rsitr.errors import ParamsError
from rsitr.methods import entry, get_method, registry
from rsitr.methods.base import Corpus, Method, MethodConfig, TrainingConfig
from rsitr.methods.configure import changed_settings, configure, departures, published_row
from rsitr.nn.pixels import PixelFormat
from rsitr.nn.seeds import seeded
from rsitr.params import REPLACED_BY_PHASES
from rsitr.params.ids import JOINT, NAME
from rsitr.records.cell import Published
from rsitr.tables.published import load, lookup
from tests.helpers.batches import batch as make_batch

NAMES = list(registry())
CONFIGURATIONS = [(name, variant) for name in NAMES for variant in ("", *get_method(name).variants)]
TRAINABLE = [(name, variant) for name, variant in CONFIGURATIONS if get_method(name).trainable]
CAPTIONS = ["a red dot on white ground", "a green bar", "two trees", "a red dot"]
NAMES_AND_CLASSES = (("dot_1.png", "bar_1.png", "dot_2.png"), ("dot", "bar", "dot"))
CORPUS = Corpus(CAPTIONS, np.array([0, 1, 2, 2]), None, *NAMES_AND_CLASSES)
TASKS = {"sentence": "sentence", "keywords": "keywords", "joint": "sentence+keywords"}
FACTS = DatasetFacts("scenes-b", "Shapes", "generated", "Apache-2.0", True, "root", "0" * 64)


@pytest.fixture(scope="module")
def build(tiny_settings, tiny_bert, tiny_clip, installed_meteor):
    """``build(name, variant)``: the method in small, built once."""
    tiny_settings = tiny_settings | {"instruction": {"layers": [1, 1, 1, 1], "width": 2}}
    small = tiny_settings | {"model": tiny_clip, "weights": "none", "text_weights": str(tiny_bert)}
    small |= {"instruction_backbone": "test_resnet", "instruction_weights": "none"}

    @cache
    def built(name: str, variant: str) -> Method:
        cls = get_method(name)
        # Some methods have phases of their own, and nothing here depends on how long training is.
        known = cls.Config.model_fields.keys() - {*REPLACED_BY_PHASES}
        fields = {key: value for key, value in small.items() if key in known}
        teacher = built.__wrapped__("mtgfe", "") if cls.holds_teacher else None
        with seeded(0):
            return cls.build(configure(cls, variant, fields), CORPUS._replace(teacher=teacher))

    return built


def printed(published: Published) -> Any:
    """The printed mean recalls that a key fits, one row for each dataset."""
    rows = load().query("metric == 'mr'")
    for field, value in published.model_dump(exclude_defaults=True).items():
        rows = rows[rows[field].eq(value)]
    return rows


@pytest.mark.parametrize("name", NAMES)
class TestDeclaration:
    def test_name_and_place(self, name: str) -> None:
        cls = get_method(name)
        assert re.fullmatch(NAME, name)
        assert cls.name == name
        assert cls.__module__ == entry(name).module
        # A file may hold a family and the blocks only that family uses.
        assert len(inspect.getsource(cls).splitlines()) <= 100
        assert len(Path(inspect.getfile(cls)).read_text(encoding="utf-8").splitlines()) <= 300

    def test_docstring_cites_the_paper_and_the_place_in_it(self, name: str) -> None:
        cls = get_method(name)
        text = inspect.cleandoc(cls.__doc__ or "")
        assert text
        if cls.trainable or cls.published:
            assert re.search(r"\b(19|20)\d\d\b", text), "name the year of the paper"
            assert re.search(r"[Ss]ections? [IVX\d]|Eq\. \d|Table [IVX\d]", text), "name section, equation or table"

    def test_configuration_is_typed_and_closed(self, name: str) -> None:
        config = get_method(name).Config
        assert issubclass(config, MethodConfig)
        assert config.model_config["extra"] == "forbid"
        assert inspect.getdoc(config)
        with pytest.raises(ValidationError):
            config(no_such_field=1)
        if get_method(name).trainable:
            assert issubclass(config, TrainingConfig)

    def test_defaults_select_on_val(self, name: str) -> None:
        assert getattr(get_method(name).Config(), "selection", "val") == "val"

    def test_published_keys_belong_to_a_configuration_and_to_the_numbers(self, name: str) -> None:
        cls = get_method(name)
        for variant, published in cls.published.items():
            assert variant == "" or variant in cls.variants
            found = [lookup(published, dataset) for dataset in ("rsicd", "rsitmd", "ucm", "sydney")]
            assert any(found), f"published.csv has no recall for {published}"

    def test_published_rows_are_of_the_same_queries(self, name: str) -> None:
        cls = get_method(name)
        for variant, published in cls.published.items():
            assert set(printed(published)["task"]) == {TASKS[configure(cls, variant, {}).query]}

    def test_what_it_sets_on_a_dataset_is_valid_and_changes_something(self, name: str) -> None:
        cls = get_method(name)
        for key in cls.of_dataset:
            dataset, _, variant = key.partition("@")
            assert dataset in datasets()
            assert variant in ("", *cls.variants)
            assert configure(cls, variant, {}, dataset) != configure(cls, variant, {})

    def test_it_says_whether_it_supports_a_dataset(self, name: str) -> None:
        supported, reason = get_method(name).supports(FACTS)
        assert supported or reason


@pytest.mark.parametrize(("name", "variant"), CONFIGURATIONS)
class TestConfiguration:
    def test_variant_is_valid_and_changes_something(self, name: str, variant: str) -> None:
        cls = get_method(name)
        config = configure(cls, variant, {})
        assert changed_settings(cls, variant, config) == []
        if variant:
            assert re.fullmatch(NAME, variant)
            # Or it is trained on a joint set, which params.yaml says.
            assert variant in JOINT or config != configure(cls, "", {})

    def test_departures_are_known_before_it_is_built(self, name: str, variant: str, build: Any) -> None:
        """They are read from the configuration alone; the table ``coverage`` needs no weights."""
        method = build(name, variant)
        assert departures(type(method), method.config) == method.departures
        assert all(departures(type(method), configure(type(method), variant, {})))

    def test_encoders(self, name: str, variant: str, build: Any) -> None:
        method = build(name, variant).eval()
        images = torch.arange(4)
        if method.reads_pixels:
            assert isinstance(method.pixels, PixelFormat)
            images = torch.rand(4, 3, method.pixels.size, method.pixels.size)
        tokens = method.tokenize(CAPTIONS)
        assert tokens.shape[0] == 4
        assert not tokens.is_floating_point()
        with torch.inference_mode():
            pictures, texts = method.encode_images(images), method.encode_texts(tokens)
            scores = method.score(pictures, texts)
        assert len(pictures) == len(texts) == 4
        assert scores.shape == (4, 4)
        assert scores.dtype == torch.float32
        assert torch.isfinite(scores).all()
        if method.interacts:
            assert {pictures.ndim, texts.ndim} <= {2, 3}
            return
        assert pictures.ndim == 2
        assert pictures.shape == texts.shape
        if method.unit_length:
            torch.testing.assert_close(texts.norm(dim=1), torch.ones(4))
            # The one exception states itself in the configuration.
            if getattr(method.config, "normalize_image_features", True):
                torch.testing.assert_close(pictures.norm(dim=1), torch.ones(4))

    def test_a_score_depends_on_its_pair_alone(self, name: str, variant: str, build: Any) -> None:
        """Neither on the other pairs of a block nor on how far the captions of a batch are filled up."""
        method = build(name, variant).eval()
        if not method.interacts:
            return
        with torch.inference_mode():
            pictures = method.encode_images(torch.rand(3, 3, method.pixels.size, method.pixels.size))
            texts = method.encode_texts(method.tokenize(CAPTIONS))
            scores = method.score(pictures, texts)
            for place, caption in enumerate(CAPTIONS):
                alone = method.encode_texts(method.tokenize([caption]))
                torch.testing.assert_close(method.score(pictures[1:2], alone)[0, 0], scores[1, place])

    def test_checkpoint_goes_out_and_in(self, name: str, variant: str, build: Any) -> None:
        method = build(name, variant)
        state = {key: value.clone() for key, value in method.learned_state().items()}
        method.load_learned_state(state)
        # What is not trained is stored once, where it came from.
        assert bool(state) == method.trainable
        if state:
            with pytest.raises(RuntimeError, match="belongs to another model"):
                method.load_learned_state(dict(list(state.items())[1:]))


CONFESSION = r"[^.:;]*\b(?:stands? for|instead of|reconstructions?|reconstructed|ours)\b[^.:;]*"


@pytest.mark.parametrize("name", [name for name in NAMES if get_method(name).published])
class TestDepartures:
    """What the docstring of a method with a published row admits, its records say too."""

    def departures(self, name: str, build: Any) -> set[str]:
        """Of a method in all its configurations."""
        return {text for variant in ("", *get_method(name).variants) for text in build(name, variant).departures}

    def test_what_a_docstring_admits_is_among_them(self, name: str, build: Any) -> None:
        classes = [cls for cls in get_method(name).__mro__ if cls.__module__.startswith("rsitr.methods")]
        texts = [text for cls in classes for text in (cls.__doc__, sys.modules[cls.__module__].__doc__) if text]
        admitted = {found for text in texts for found in re.findall(CONFESSION, " ".join(text.split()))}
        said = [set(re.findall(r"[a-z]{4,}", text.lower())) for text in self.departures(name, build)]
        for sentence in admitted:
            words = set(re.findall(r"[a-z]{4,}", sentence.lower())) - {"instead", "stands", "authors", "code", "their"}
            assert any(len(words & other) > 1 for other in said), f"departures say nothing of {sentence.strip()!r}"

    def test_each_is_a_phrase_said_once(self, name: str, build: Any) -> None:
        for variant in ("", *get_method(name).variants):
            said = build(name, variant).departures
            assert len(set(said)) == len(said)
            assert all(re.fullmatch(r"\S.{1,118}[^.\s]", text) for text in said)


@pytest.mark.parametrize(
    "name",
    [
        *("vse++", "vse", "pir-itr-soft", "galr", "swan", "lw-mcr", "camp-bce", "clip-ft", "pir-clip"),
        *("mtgfe", "envlf", "retrieval-filter", "distilled-dual"),
    ],
)
def test_autocast_is_a_departure_until_it_is_switched_off(name, build):
    method = build(name, "")
    said, config = method.departures, method.config
    method.config = config.model_copy(update={"autocast": False})
    assert set(said) - set(method.departures) == {"autocast to bfloat16 in training, on GPUs"}
    method.config = config


def test_no_two_configurations_claim_the_same_published_row():
    owners = {}
    for name in NAMES:
        for variant, published in get_method(name).published.items():
            for line in printed(published).index:
                owners.setdefault(line, []).append(f"{name}@{variant}")
    assert {line: names for line, names in owners.items() if len(names) > 1} == {}


@pytest.mark.parametrize(("name", "variant"), TRAINABLE)
class TestTraining:
    def test_loss_is_finite_and_reaches_every_part(self, name: str, variant: str, build: Any) -> None:
        method = build(name, variant).train()
        size = method.pixels.size
        images, captions = torch.rand(4, 3, size, size), torch.arange(4)
        image_ids, teacher = torch.from_numpy(CORPUS.image_of), torch.rand(4, 4)
        batch = make_batch(images, method.tokenize(CAPTIONS), image_ids, captions, teacher=teacher)
        method.zero_grad()
        loss = method.loss(batch)
        assert loss.shape == ()
        assert torch.isfinite(loss)
        loss.backward()
        gradients = {key: parameter.grad for key, parameter in method.named_parameters()}
        assert all(torch.isfinite(grad).all() for grad in gradients.values() if grad is not None)
        reached = {key.split(".")[0] for key, grad in gradients.items() if grad is not None and grad.any()}
        parts = {key.split(".")[0] for key in gradients if not key.startswith(method.fixed)}
        assert parts - {"log_temperature", "temperature"} <= reached

    def test_it_takes_the_tokens_of_a_frozen_backbone(self, name: str, variant: str, build: Any) -> None:
        method = build(name, variant).eval()
        pixels = torch.rand(2, 3, method.pixels.size, method.pixels.size)
        with torch.inference_mode():
            tokens = method.backbone(pixels)
            assert tokens.ndim == 3
            torch.testing.assert_close(method.encode_images(tokens), method.encode_images(pixels))

    def test_equal_seeds_build_equal_weights(self, name: str, variant: str, build: Any) -> None:
        method = build(name, variant)
        again = build.__wrapped__(name, variant)
        for (key, value), other in zip(method.state_dict().items(), again.state_dict().values(), strict=True):
            if value.is_floating_point() and "running" not in key:
                assert torch.equal(value, other), key


@pytest.mark.parametrize("name", [name for name in NAMES if not get_method(name).trainable])
def test_a_method_without_training_has_no_loss(name, build):
    with pytest.raises(NotImplementedError, match=f"{name} is not trained"):
        build(name, "").loss(None)


class TestConfigure:
    """Defaults, then variant, then settings."""

    def test_order(self) -> None:
        cls = get_method("vse")
        assert configure(cls, "", {}).objective == "contrastive"
        assert configure(cls, "swin-bert-triplet", {}).objective == "triplet"
        assert configure(cls, "swin-bert-triplet", {"objective": "contrastive"}).objective == "contrastive"

    def test_shortlists_need_a_cheap_score(self) -> None:
        assert configure(get_method("envlf"), "", {"choose": "shortlists"}).choose == "shortlists"
        with pytest.raises(ParamsError, match="settings of mtgfe: it has no cheap score to make shortlists by"):
            configure(get_method("mtgfe"), "", {"choose": "shortlists"})

    def test_what_the_authors_set_on_a_dataset_is_published_there(self) -> None:
        hvsa, amfmn = get_method("hvsa"), get_method("amfmn-soft")
        assert configure(hvsa, "", {}).learning_rate == 1e-3
        on_rsitmd = configure(hvsa, "", {}, "rsitmd")
        assert on_rsitmd.learning_rate == 5e-4
        assert changed_settings(hvsa, "", on_rsitmd, "rsitmd") == []
        assert changed_settings(hvsa, "", on_rsitmd, "rsicd") == ["learning_rate 0.0005 instead of 0.001"]
        assert configure(hvsa, "", {"learning_rate": 0.1}, "rsitmd").learning_rate == 0.1
        assert configure(get_method("galr"), "", {}, "rsitmd").epochs == 20
        assert configure(amfmn, "released", {}, "rsitmd").learning_rate == 2e-4
        assert configure(amfmn, "", {}, "rsitmd").learning_rate == 1e-4

    def test_a_variant_that_claims_no_row_has_none(self) -> None:
        galr = get_method("galr")
        assert published_row(galr, "", galr.Config()) == galr.published[""]
        assert published_row(galr, "released", configure(galr, "released", {})) is None
        # A name that params.yaml gives to settings of the default.
        assert published_row(galr, "shorter", galr.Config(epochs=2)) == galr.published[""]
        assert published_row(galr, "shorter", galr.Config(query="joint")) is None

    def test_settings_must_fit(self) -> None:
        cls = get_method("chance")
        assert configure(cls, "", {}) == cls.Config()
        with pytest.raises(ParamsError, match="settings of chance are not valid: epochs: Extra inputs"):
            configure(cls, "", {"epochs": 3})
        with pytest.raises(ParamsError, match="settings of vse@vit-bert are not valid: epochs: Input should be"):
            configure(get_method("vse"), "vit-bert", {"epochs": 0})

    def test_deviations_name_each_field_that_differs(self) -> None:
        cls = get_method("vse")
        config = configure(cls, "", {"epochs": 3, "text_weights": ""})
        assert changed_settings(cls, "", config) == [
            "epochs 3 instead of 50",
            "text_weights none instead of google-bert/bert-base-uncased",
        ]

    def test_phases_and_what_they_replace_exclude_each_other(self) -> None:
        cls = get_method("swan")
        message = r"settings of swan: its phases have their own epochs, learning_rate: set phases: \[\]"
        with pytest.raises(ParamsError, match=message):
            configure(cls, "", {"epochs": 3, "learning_rate": 1e-3})
        assert configure(cls, "", {"epochs": 3, "phases": []}).course[0].epochs == 3
        with pytest.raises(ParamsError, match=r"swan: its phases have their own max_steps: set phases: \[\]"):
            configure(cls, "", {"max_steps": 100})

    @pytest.mark.parametrize(
        ("name", "settings", "message"),
        [
            ("vse", {"patience": 2}, "vse: only schedule: plateau has patience: set it, or leave patience out"),
            ("vse", {"schedule": "step", "patience": 2, "drops": 2}, "only schedule: plateau has patience, drops"),
            ("vse", {"schedule": "plateau", "choose": "last"}, "goes by the best epoch, and choose: last takes none"),
            ("swan", {"schedule": "plateau"}, r"its phases have a fixed length, .*: set phases: \[\], or another"),
        ],
    )
    def test_a_plateau_and_what_has_none_exclude_each_other(self, name: str, settings: Any, message: str) -> None:
        with pytest.raises(ParamsError, match=message):
            configure(get_method(name), "", settings)
        assert configure(get_method("vse"), "", {"schedule": "plateau", "patience": 2}).patience == 2

    def test_a_deviation_names_the_course_that_is_really_run(self) -> None:
        cls = get_method("camp-triplet")
        settings = {"phases": [{"epochs": 2, "learning_rate": 1e-3}, {"epochs": 1, "learning_rate": 0.01}]}
        short, plain = configure(cls, "", settings), configure(cls, "", {"phases": [], "epochs": 3})
        published = (
            "110 epochs with adam at 0.0002, then 65 epochs of passing.fusion. with sgd at 0.01 from the best weights, "
            "then 65 epochs with sgd at 0.01 from the best weights"
        )
        assert changed_settings(cls, "", short) == [
            f"training 2 epochs with adam at 0.001, then 1 epoch with adam at 0.01 instead of {published}"
        ]
        assert changed_settings(cls, "", plain) == [f"training 3 epochs with adam at 0.0002 instead of {published}"]
        capped = configure(cls, "", {"phases": [], "max_steps": 900})
        told = "training at most 900 steps with adam at 0.0002"
        assert changed_settings(cls, "", capped) == [f"{told} instead of {published}"]

    def test_positives_and_the_end_of_training_are_deviations(self) -> None:
        cls = get_method("vse")
        config = configure(cls, "", {"positives": "caption", "schedule": "plateau", "max_steps": 900})
        assert changed_settings(cls, "", config) == [
            "max_steps 900 instead of None",
            "schedule plateau instead of linear",
            "positives caption instead of image",
        ]


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ParamsError, match=r"unknown method 'amfm': the known ones are amfmn-fusion, amfmn-sim, "):
        get_method("amfm")
