"""The study of CLIP alone: what is measured of a cell, probabilities of captions, its pictures and the command."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from rsitr.datasets.splits import SplitData
from rsitr.errors import QueryError, RecordError, RsitrError
from rsitr.examples import peder as examples
from rsitr.params import parse_params
from rsitr.params.ids import CellId, CleanId
from rsitr.pipeline import run as running
from rsitr.pipeline.freshness import Present
from rsitr.pipeline.inputs import study_cells, study_partner, study_shown
from rsitr.records.artefact import Outcome
from rsitr.records.cell import read_report
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.study import Study, StudySpec
from rsitr.retrieval.failures import in_words
from rsitr.retrieval.rank_files import metrics_of, read_ranks
from rsitr.retrieval.ranks import rank_scores
from rsitr.stages import clip_study as module
from rsitr.stages.clip_probabilities import probabilities, ready, sharpness
from rsitr.stages.clip_study import measure, measured, worst
from rsitr.stages.evaluate import evaluate
from rsitr.stages.setup import load_data
from rsitr.stages.train import train
from tests.helpers.commands import refused, run
from tests.helpers.made import KILLED, put_cell, put_trained

TINY = {"model": "tiny-64", "weights": "none"}
CAPTIONS = ["a red dot", "a blue bar", "green"]


@pytest.fixture
def clip(project, make_spec):
    """An evaluated cell of CLIP."""
    spec = make_spec("vse").model_copy(update={"method": "clip", "settings": TINY})
    assert train(spec).outcome.status == "ok"
    assert evaluate(spec).outcome.status == "ok"
    return spec


@pytest.fixture
def vse(project, make_spec):
    """An evaluated cell of two encoders."""
    spec = make_spec("vse", epochs=1)
    train(spec)
    assert evaluate(spec).outcome.status == "ok"
    return spec


def study_of(cell, two_encoders=None):
    """The spec of the study of a cell."""
    return StudySpec(cell=cell, two_encoders=two_encoders, threads=1, code={"code": "0" * 64})


def pictures(count=3):
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (20 + 10 * n, 30, 3), dtype=np.uint8) for n in range(count)]


def split_of(captions, image_of):
    ids = [f"image-{number}" for number in range(max(image_of) + 1)]
    return SplitData(ids, [], ids, captions, np.array(image_of), ())


def test_every_measure_by_hand():
    # Image 0: own a .9, b .2; image 1: own c .4, "A." .8, which says what a does.
    scores = torch.tensor([[0.9, 0.2, 0.5, 0.9], [0.6, 0.3, 0.4, 0.8]])
    found = measured(scores, split_of(["a", "b", "c", "A."], [0, 0, 1, 1]))
    # i2t, ties against: image 0 ranks the foreign "A." first, then a, c, b; image 1: "A.", a, c, b.
    i2t = [(1 / 2 + 2 / 4) / 2, (1 + 2 / 3) / 2]
    t2i = [1, 1 / 2, 1 / 2, 1 / 2]
    metrics = found.metrics
    assert metrics["map_i2t"] == pytest.approx(100 * np.mean(i2t))
    assert metrics["map_t2i"] == pytest.approx(100 * np.mean(t2i))
    assert metrics["map"] == pytest.approx(50 * (np.mean(i2t) + np.mean(t2i)))
    # Identical captions count: to image 0 a, b and "A." are relevant, to image 1 c, "A." and a.
    aware_i2t = [(1 + 1 + 3 / 4) / 3, (1 + 1 + 1) / 3]
    assert metrics["dup_map_i2t"] == pytest.approx(100 * np.mean(aware_i2t))
    assert metrics["dup_map_t2i"] == pytest.approx(100 * np.mean([1, 1 / 2, 1 / 2, 1]))
    # First items: image 1, caption a. Of six queries two.
    assert metrics["accuracy"] == pytest.approx(100 * 2 / 6)
    # One caption does not fit image 0: c (.5), below a and "A.", above b; b (.3) is below all that fit image 1.
    assert metrics["choice"] == pytest.approx(100 * (2 / 3 + 1) / 2)
    assert metrics["cosine_matched"] == pytest.approx((0.9 + 0.2 + 0.4 + 0.8) / 4)
    assert metrics["cosine_unmatched"] == pytest.approx((0.5 + 0.3) / 2)
    assert found.failures == {"i2t": 1, "t2i": 3}


def test_failures_are_those_of_the_highest_ranks():
    scores = torch.tensor([[0.1, 0.7, 0.8], [0.3, 0.2, 0.9], [0.2, 0.6, 0.5]])
    split = split_of(["p", "q", "r"], [0, 1, 2])
    ranks = rank_scores(lambda images, captions: scores[images, captions], split.image_of)
    cases = list(worst(scores, ranks, split, shown=2))
    assert [(case["direction"], case["query"], case["rank"]) for case in cases] == [
        *(("i2t", "image-0", "3"), ("i2t", "image-1", "3")),
        *(("t2i", "image-0#1", "3"), ("t2i", "image-1#1", "3")),
    ]
    image, caption = cases[0], cases[2]
    assert (image["fitting"], image["fitting_score"]) == ("image-0#1", "0.1000")
    assert (image["first"], image["first_score"]) == ("image-2#1", "0.8000")
    assert (caption["fitting"], caption["first"]) == ("image-0", "image-1")
    # A tie goes against the method, so what came first is never the item that fits.
    tied = torch.ones(2, 2)
    split = split_of(["p", "q"], [0, 1])
    ranks = rank_scores(lambda images, captions: tied[images, captions], split.image_of)
    assert [case["first"] for case in worst(tied, ranks, split)] == ["image-1#1", "image-0#1", "image-1", "image-0"]
    perfect = torch.eye(2)
    ranks = rank_scores(lambda images, captions: perfect[images, captions], split.image_of)
    assert list(worst(perfect, ranks, split)) == []


def test_a_study_agrees_with_the_record_of_its_cell(clip, vse):
    study = measure(study_of(clip, vse))
    assert Study.read(Paths.study(clip.cell) / "study.json") == study
    assert study.outcome.status == "ok", study.outcome
    metrics = metrics_of(read_ranks(Paths.cell(clip.cell) / "ranks.parquet").ranks)
    queries = {"i2t": 6, "t2i": 12}
    hits = {side: round(queries[side] * metrics[f"{side}_r1"] / 100) for side in queries}
    assert study.failures == {side: queries[side] - hits[side] for side in queries}
    assert study.metrics["accuracy"] == pytest.approx(100 * sum(hits.values()) / 18)
    assert set(study.seconds) == {"inference", "two_encoders"}
    assert all(seconds > 0 for seconds in study.seconds.values())
    assert study.identities == study_of(clip, vse).identities
    assert study.used == {"cell": read_report(clip.cell).weights_sha, "two_encoders": read_report(vse.cell).weights_sha}
    assert study.data_sha == load_data(clip).facts.data_sha
    rows = list(csv.DictReader((Paths.study(clip.cell) / "failures.csv").open()))
    assert len(rows) == sum(min(10, count) for count in study.failures.values())
    shown = run("peder", "failures", clip.cell.path)
    captions = load_data(clip).splits["test"].captions
    named = [row for row in rows if row["direction"] == "t2i"]
    assert all(any(f"{row['query']} {text} " in shown.stdout for text in captions) for row in named)
    alone = measure(study_of(vse))
    assert set(alone.seconds) == {"inference"}
    assert set(alone.used) == {"cell"}


def test_failures_in_words():
    split = split_of(["a lake", "a pond", "two planes", "an apron"], [0, 0, 1, 1])
    failure = {"direction": "t2i", "query": "image-1#2", "fitting": "image-1", "first": "image-0"}
    assert in_words(failure, split) == failure | {"query": "image-1#2 an apron"}
    failure = {"direction": "i2t", "query": "image-0", "fitting": "image-0#1", "first": "image-1#1"}
    assert in_words(failure, split) == failure | {"fitting": "image-0#1 a lake", "first": "image-1#1 two planes"}


def test_failures_need_a_study(project):
    message = refused("peder", "failures", "tiny/scenes-b/vse/0")
    assert "tiny/scenes-b/vse/0 has not been measured: run `snakemake --cores 2 results/peder/tiny/scenes-b" in message


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("nothing", []),
        ("code", ["code"]),
        ("parameters", ["parameters"]),
        ("weights", ["cell"]),
        ("weights of the two encoders", ["two encoders"]),
        ("record of the cell", ["cell"]),
        ("data of the study", ["data"]),
        ("checkpoints that are not here", []),
    ],
)
def test_what_changed_since_a_study_is_named(changed, expected, clip, vse):
    spec = study_of(clip, vse)
    measure(spec)
    match changed:
        case "code":
            spec = spec.model_copy(update={"code": {"code": "1" * 64}})
        case "parameters":
            spec = study_of(clip)
        case "weights":
            put_trained(clip, b"other weights")
        case "weights of the two encoders":
            put_trained(vse, b"other weights")
        case "record of the cell":
            put_cell(clip, identities=clip.identities | {"trained": "older"})
            put_trained(clip, weights_sha=Study.read(Paths.study(clip.cell) / "study.json").used["cell"])
        case "data of the study":
            study = Study.read(Paths.study(clip.cell) / "study.json")
            write_json(spec.record_file, study.model_copy(update={"data_sha": "older"}))
        case "checkpoints that are not here":
            for path in (*clip.trained_outputs, *vse.trained_outputs):
                path.unlink()
    assert Present().stale(spec) == expected


def test_a_study_that_is_current_is_not_repeated_and_a_killed_one_recorded(clip, monkeypatch):
    spec, ran = study_of(clip), []

    def killed(*rest):
        ran.append("killed")
        return KILLED

    monkeypatch.setattr(running, "run_process", killed)
    assert running.run(spec) == running.Result(KILLED, True)
    assert Study.read(Paths.study(clip.cell) / "study.json").outcome == KILLED
    assert all(path.is_file() for path in spec.outputs)
    monkeypatch.setattr(running, "run_process", lambda spec, *rest: ran.append("measured") or (measure(spec) and None))
    assert running.run(spec) == running.Result(Outcome(), True)
    assert running.run(spec) == running.Result(Outcome(), False)
    assert ran == ["killed", "measured"]


def test_a_study_needs_its_cells_to_be_computed(project, make_spec):
    spec = study_of(make_spec("chance"))
    with pytest.raises(RsitrError, match="rests on cells/tiny/scenes-b/chance/0, which has not been computed: run `rs"):
        running.run(spec)


def test_a_cell_without_a_number_has_its_reason(clip, monkeypatch):
    path = Paths.cell(clip.cell) / "cell.json"
    record = json.loads(path.read_text())
    write_json(path, record | {"outcome": Outcome(status="skipped", reason="no weights").model_dump()})
    study = measure(study_of(clip))
    assert (study.outcome.status, study.outcome.reason, study.metrics) == ("skipped", "no weights", {})
    assert (Paths.study(clip.cell) / "failures.csv").read_text().count("\n") == 1
    write_json(path, record)

    def broken(*_):
        raise ValueError("a slip")

    monkeypatch.setattr(module, "measured", broken)
    study = measure(study_of(clip))
    assert (study.outcome.status, study.outcome.reason) == ("failed", "ValueError: a slip")
    write_json(path, record | {"weights_sha": "of an older training"})
    with pytest.raises(RecordError, match="tiny/scenes-b/clip/0 has not been evaluated: run `rsitr evaluate"):
        measure(study_of(clip))
    path.unlink()
    with pytest.raises(RecordError, match="tiny/scenes-b/clip/0 has not been evaluated: run `rsitr evaluate"):
        measure(study_of(clip))


def test_methods_take_turns(monkeypatch):
    calls = []

    class Silent:
        def __init__(self, name):
            self.name = name

        def eval(self):
            return self

    def timed(method, caption, device, repeats):
        calls.append(method.name)
        return float(len(calls))

    monkeypatch.setattr(module, "inference_seconds", timed)
    monkeypatch.setattr(module, "TURNS", 3)
    assert module.side_by_side([Silent("a"), Silent("b")], "x", "cpu") == [5, 6]
    assert calls == ["a", "b"] * 4


def test_probabilities_are_the_softmax_of_the_cosines(clip):
    asked = ready(clip)
    assert asked.architecture == "tiny-64"
    images = pictures()
    found = probabilities(asked, images, CAPTIONS)
    np.testing.assert_allclose(found.of_captions.sum(1), 1)
    np.testing.assert_allclose(found.of_images.sum(0), 1)
    # CLIP before training has the temperature .07.
    assert sharpness(asked.method) == pytest.approx(1 / 0.07)
    with torch.inference_mode():
        method = asked.method
        texts = method.encode_texts(method.tokenize(CAPTIONS)).numpy()
        one = torch.from_numpy(images[1]).permute(2, 0, 1)[None]
        from rsitr.nn.pixels import preprocess

        image = method.encode_images(preprocess(one, method.pixels)).numpy()[0]
    powers = [np.exp(float(np.dot(image, text)) / 0.07) for text in texts]
    np.testing.assert_allclose(found.of_captions[1], np.array(powers) / sum(powers), rtol=1e-4)
    # Alone, a caption and an image are certain.
    assert probabilities(asked, images[:1], CAPTIONS[:1]).of_captions.tolist() == [[1.0]]


def test_the_temperature_of_a_clip_that_was_trained_is_its_own(project, make_spec):
    spec = make_spec("vse").model_copy(
        update={"method": "clip-ft", "settings": TINY | {"epochs": 1, "batch_size": 8, "augment": "none"}}
    )
    assert train(spec).outcome.status == "ok"
    asked = ready(spec)
    assert sharpness(asked.method) == pytest.approx(float(torch.exp(-asked.method.log_temperature.detach())))


def test_an_untrained_clip_is_asked_without_data(project, clip):
    expected = probabilities(ready(clip), pictures(1), CAPTIONS)
    Paths.clean(CleanId("scenes-b")).unlink()
    (Paths.checkpoint(clip.cell) / "model.safetensors").unlink()
    found = probabilities(ready(clip), pictures(1), CAPTIONS)
    np.testing.assert_array_equal(found.of_captions, expected.of_captions)


def test_what_cannot_be_asked(clip, vse):
    with pytest.raises(QueryError, match="vse gives no probabilities: choose a method of the CLIP family"):
        ready(vse)
    asked = ready(clip)
    for images, captions in (([], CAPTIONS), (pictures(1), [])):
        with pytest.raises(QueryError, match="probabilities need an image and a caption at least"):
            probabilities(asked, images, captions)
    with pytest.raises(QueryError, match=r"the caption ' \.' has no word"):
        probabilities(asked, pictures(1), ["a dot", " ."])


@pytest.mark.slow
def test_the_picture_and_the_table(clip, vse, project):
    out = project / "out"
    specs = {"clip": clip, "clip@rn50": clip.model_copy(update={"method": "clip@rn50"}), "vse": vse}
    outcomes = {"clip": Outcome(), "vse": Outcome(), "clip@rn50": Outcome(status="skipped", reason="no weights here")}
    written = examples.build(specs, outcomes, "shapes", out)
    assert [path.name for path in written] == [
        *(f"peder-probabilities.{suffix}" for suffix in ("csv", "md", "tex", "html")),
        *("peder-embeddings.png", "peder-embeddings.csv"),
    ]
    lines = written[0].read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert len(rows) == 25
    assert [row["own"] for row in rows].count("✓") == 5
    for start in range(0, 25, 5):
        block = rows[start : start + 5]
        assert len({row["image"] for row in block}) == 1
        assert sum(float(row["clip (tiny-64)"]) for row in block) == pytest.approx(100, abs=0.3)
        assert block[start // 5]["own"] == "✓"
        assert block[start // 5]["caption"].startswith(f"{block[0]['image']}#1 (")
    assert {row["clip@rn50"] for row in rows} == {"NA [1]"}
    assert "# [1] skipped: no weights here" in lines
    with Image.open(written[4]) as picture:
        assert min(picture.size) > 300
    assert [row["method"] for row in csv.DictReader(written[5].open())] == ["vse", "clip"]
    # Where no model is at hand, every file is there all the same.
    nothing = dict.fromkeys(specs, Outcome(status="skipped", reason="no weights here"))
    for path in examples.build(specs, nothing, "shapes", out):
        assert path.is_file()
    assert len(written[5].read_text().splitlines()) == 1


def matrix(*blocks):
    lab = [{"datasets": list(d), "methods": list(m), "seeds": list(s)} for d, m, s in blocks]
    return parse_params({"experiment": "lab", "experiments": {"lab": {"title": "Lab", "matrix": lab}}})


def test_which_cells_the_study_asks(project):
    params = matrix(
        (["ucm"], ["chance", "vse", "clip", "clip@rn50", "clip@keywords", "remoteclip"], [0, 1]),
        (["rsicd"], ["clip-ft"], [0]),
        (["rsitmd"], ["vse"], [0]),
    )
    cells = study_cells(params, "lab")
    assert [cell.path.removeprefix("lab/") for cell in cells] == [
        *("ucm/vse/0", "ucm/vse/1", "ucm/clip/0", "ucm/clip/1", "ucm/clip@rn50/0", "ucm/clip@rn50/1"),
        *("ucm/remoteclip/0", "ucm/remoteclip/1", "rsicd/clip-ft/0"),
    ]
    assert study_partner(params, CellId("lab", "ucm", "clip@rn50", 1)) == CellId("lab", "ucm", "vse", 1)
    assert study_partner(params, CellId("lab", "ucm", "vse", 1)) is None
    assert study_partner(params, CellId("lab", "rsicd", "clip-ft", 0)) is None
    assert list(study_shown(params, "lab")) == ["vse", "clip", "clip@rn50", "remoteclip"]
    assert {cell.seed for cell in study_shown(params, "lab").values()} == {0}
    assert study_cells(matrix((["ucm"], ["vse"], [0])), "lab") == []
    assert study_shown(matrix((["ucm"], ["vse"], [0])), "lab") == {}


def test_the_command_gives_percentages(project, tmp_path):
    raw = yaml.safe_load((project / "params.yaml").read_text())
    tiny = raw["experiments"]["tiny"]
    tiny["matrix"].append({"datasets": ["scenes-b"], "methods": ["clip"], "seeds": [0]})
    tiny["settings"] |= {"methods": {"clip": TINY}}
    (project / "params.yaml").write_text(yaml.safe_dump(raw))
    paths = []
    for number, image in enumerate(pictures(2)):
        paths += ["--image", str(tmp_path / f"{number}.png")]
        Image.fromarray(image).save(paths[-1])
    texts = ["--text", "a red dot", "--text", "a bar"]
    done = run("peder", "probabilities", *paths, *texts, "--method", "clip")
    assert done.exit_code == 0, done.output
    assert "Probability of captions for an image" in done.output
    assert done.output.count("a red dot") == 4
    assert "has no word" in refused("peder", "probabilities", *paths, "--text", "?", "--method", "clip")
    assert "unknown method" in refused("peder", "probabilities", *paths, *texts, "--method", "clop")
    missing = refused("peder", "probabilities", "--image", "nowhere.png", *texts, "--method", "clip")
    assert "nowhere.png cannot be opened" in missing
