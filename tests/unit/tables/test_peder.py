"""The tables of the study of CLIP alone, from made-up records and studies."""

from __future__ import annotations

import csv

import pytest

from rsitr.params.ids import CellId
from rsitr.records.artefact import Outcome
from rsitr.records.files import write_json
from rsitr.records.paths import Paths
from rsitr.records.study import Study
from rsitr.retrieval.failures import write_failures
from rsitr.tables import peder
from rsitr.tables.published import METRICS
from tests.helpers.lab import Reader, Records, params

FAILURE = {
    **{"direction": "i2t", "query": "image-7", "rank": "31", "fitting": "image-7#2", "fitting_score": "0.1"},
    **{"first": "image-2#5", "first_score": "0.9"},
}


class Lab(Records, Reader):
    """Records and studies, and the tables built from them."""

    def study(self, dataset, method, seed, *, cosine=0.5, times=(0.002, 0.008), weights="w", **fields):
        cell = CellId("lab", dataset, method, seed)
        metrics = dict.fromkeys(("map_i2t", "map_t2i", "map", "dup_map", "accuracy", "choice"), 10.0)
        metrics |= {"cosine_matched": cosine, "cosine_unmatched": cosine / 2}
        measured = {"metrics": metrics, "failures": {"i2t": 1, "t2i": 1234}}
        seconds = dict(zip(("inference", "two_encoders"), times, strict=False))
        used = {"cell": weights} | ({"two_encoders": "v"} if len(times) > 1 else {})
        study = Study(**cell._asdict(), seconds=seconds, used=used, **(measured | fields))
        write_json(Paths.study(cell) / "study.json", study)
        listed = [FAILURE, FAILURE | {"direction": "t2i", "query": f"caption of {method}"}]
        write_failures(listed, Paths.study(cell) / "failures.csv")

    def both(self, dataset, seed, cosine=0.5, other=0.4, times=(0.002, 0.008)):
        """CLIP and the two encoders, measured."""
        self.put(dataset, "clip", seed, 20.0, weights_sha="w", seconds={"inference": 9.0})
        self.put(dataset, "vse", seed, 30.0, weights_sha="v", seconds={"inference": 9.0})
        self.study(dataset, "clip", seed, cosine=cosine, times=times)
        self.study(dataset, "vse", seed, cosine=other, times=times[1:], weights="v")

    def build(self, chosen, cells, stale=()):
        return peder.build(self.view(chosen), dict.fromkeys(cells, stale), self.out)

    def table(self, name):
        self.name = name
        return self


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path)


def cells(datasets, methods, seeds):
    return [CellId("lab", d, m, s) for d in datasets for m in methods for s in seeds]


def test_measures_stand_beside_recall(lab):
    lab.both("ucm", 0)
    lab.both("ucm", 1, cosine=0.6)
    chosen = (["ucm"], ["chance", "vse", "clip"], [0, 1])
    written = lab.build(params(chosen), cells(["ucm"], ["vse", "clip"], [0, 1]))
    names = [f"peder-measures{s}" for s in (".csv", ".md", ".tex", ".html", ".long.csv")]
    names += [f"peder-{name}{s}" for name in ("claims", "failures") for s in (".csv", ".md", ".tex", ".html")]
    assert [path.name for path in written] == names
    rows = lab.table("peder-measures").rows()
    assert list(rows) == ["CLIP", "two encoders"]
    clip = rows["CLIP"]
    assert (clip["method"], clip["ucm mR"], clip["ucm mAP"]) == ("clip", "20.00 ± 0.00", "10.00 ± 0.00")
    assert (clip["ucm cosine matched"], clip["ucm cosine unmatched"]) == ("0.5500 ± 0.0707", "0.2750 ± 0.0354")
    # That of the study, which took turns, and not that of the record.
    assert clip["ucm inference (s)"] == "0.0020 ± 0.0000"
    assert rows["two encoders"]["ucm inference (s)"] == "0.0080 ± 0.0000"
    assert "**0.55" not in lab.read("md")  # no cosine is the best one
    long = {(row["method"], row["metric"]): row["mean"] for row in lab.long()}
    assert long["clip", "choice"] == "10.0"


def test_claims_stand_beside_what_is_measured(lab):
    lab.both("ucm", 0, cosine=0.5, other=0.4, times=(0.002, 0.008))
    lab.both("ucm", 1, cosine=0.44, other=0.4, times=(0.004, 0.008))
    chosen = (["ucm"], ["vse", "clip"], [0, 1])
    lab.build(params(chosen), cells(*chosen))
    rows = lab.table("peder-claims").rows()
    cosine, time = rows["mean cosine of matched pairs"], rows["inference time (s)"]
    assert (cosine["claimed change %"], time["claimed change %"]) == ("+93", "-83")
    assert cosine["ucm CLIP"] == "0.4700 ± 0.0424"
    assert cosine["ucm two encoders"] == "0.4000 ± 0.0000"
    # Of the seeds +25 and +10 percent; of the times -75 and -50.
    assert cosine["ucm change %"] == "+17.5 ± 10.6"
    assert (time["ucm CLIP"], time["ucm two encoders"]) == ("0.0030 ± 0.0014", "0.0080 ± 0.0000")
    assert time["ucm change %"] == "-62.5 ± 17.7"


def test_what_has_no_percentage_and_what_is_synthetic(lab):
    lab.both("scenes-a", 0, other=-0.1)
    chosen = (["scenes-a"], ["vse", "clip"], [0])
    lab.build(params(chosen), cells(*chosen))
    rows = lab.table("peder-claims").rows()
    cosine = rows["mean cosine of matched pairs"]
    assert "claimed change %" not in cosine
    assert lab.note(cosine["scenes-a (synthetic) change %"]) == "a percentage needs a positive starting value"
    assert rows["inference time (s)"]["scenes-a (synthetic) change %"] == "-75.0"


def test_absent_weights_and_missing_studies_give_their_reason(lab):
    lab.both("ucm", 0)
    skipped = Outcome(status="skipped", reason="the weights are not to be had")
    lab.put("ucm", "clip@rn50", 0, outcome=skipped)
    lab.put("ucm", "clip-ft", 0, 10.0)
    lab.put("ucm", "clip@vit-l-14", 0, 10.0, weights_sha="w")
    lab.study("ucm", "clip@vit-l-14", 0, outcome=Outcome(status="failed", reason="a slip"), metrics={})
    chosen = (["ucm"], ["clip", "clip@rn50", "clip@vit-l-14", "clip-ft", "vse"], [0])
    lab.build(params(chosen), cells(*chosen))
    rows = lab.table("peder-measures").rows()
    reasons = {name: lab.note(rows[name]["ucm mAP"]) for name in list(rows)[1:4]}
    assert reasons == {
        "CLIP (rn50)": "skipped: the weights are not to be had",
        "CLIP (vit-l-14)": "failed: a slip",
        "CLIP fine-tuned": "not run yet",
    }
    with (lab.out / "peder-claims.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == "clip@rn50"]
    assert all(line["ucm change %"].startswith("NA [") for line in lines)


def test_a_study_of_another_training_is_marked(lab):
    lab.both("ucm", 0)
    chosen = (["ucm"], ["clip", "vse"], [0])
    lab.build(params(chosen), cells(*chosen), stale=["cell", "two encoders"])
    shown = lab.table("peder-measures").rows()["CLIP"]["ucm mAP"]
    assert "†" in shown
    assert lab.note(shown) == "made by other cell and two encoders than the present"


def test_failures_are_listed_for_each_model(lab):
    lab.both("ucm", 0)
    lab.both("ucm", 1)
    chosen = (["ucm"], ["clip", "vse"], [0, 1])
    lab.build(params(chosen), cells(*chosen))
    page = lab.table("peder-failures").read("md")
    assert page.count("## ucm, ") == 2
    assert "1 image queries and 1,234 caption queries failed." in page
    assert lab.rows()["image-7"] == {
        **{"table": "ucm, vse", "query": "image-7", "direction": "i2t", "rank": "31", "fitting": "image-7#2"},
        **{"its score": "0.1", "first": "image-2#5", "score of the first": "0.9"},
    }


def test_nothing_without_clip_and_an_empty_list_without_a_study(lab):
    assert lab.build(params((["ucm"], ["vse"], [0])), []) == []
    assert not peder.concerns(["vse", "georsclip"])
    assert peder.concerns(["vse", "clip@rn50"])
    assert peder.concerns(["vse", "remoteclip@rn50"])
    lab.put("ucm", "clip", 0, outcome=Outcome(status="skipped", reason="no weights"))
    lab.build(params((["ucm"], ["clip"], [0])), cells(["ucm"], ["clip"], [0]))
    assert "no cell has a number" in lab.table("peder-failures").read("md")
    assert set(METRICS) & set(peder.MEASURES) == {"i2t_r1", "t2i_r1", "mr"}
