"""An experiment that needs GPUs is never computed on a CPU in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rsitr.errors import RsitrError
from rsitr.params import load_params
from rsitr.params.ids import CellId
from rsitr.pipeline import devices, run
from rsitr.pipeline.devices import check_gpu, needs_gpu
from rsitr.pipeline.specs import spec_of

VSE, CHANCE = (CellId("tiny", "scenes-b", method, 0) for method in ("vse", "chance"))


@pytest.fixture(autouse=True)
def needing(project: Path) -> None:
    """The experiment needs GPUs."""
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["experiments"]["tiny"]["needs_gpu"] = True
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def test_what_trains_needs_a_gpu_and_what_does_not_needs_none() -> None:
    params = load_params()
    assert [needs_gpu(params, spec_of(params, cell)) for cell in (VSE, CHANCE)] == [True, False]
    params["tiny"].needs_gpu = False
    assert not needs_gpu(params, spec_of(params, VSE))


def test_a_training_without_the_gpu_that_it_needs_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "run_process", lambda *_: pytest.fail("it was begun"))
    monkeypatch.setattr(devices, "gpus", lambda: 0)
    spec = spec_of(load_params(), VSE)
    with pytest.raises(RsitrError, match=r"^tiny/scenes-b/vse/0 needs a GPU .* experiments\.tiny\.needs_gpu to false"):
        run.run(spec)
    assert not spec.record_file.exists()  # the same job may find one on another machine


def test_a_gpu_or_no_need_of_one_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params()
    monkeypatch.setattr(devices, "gpus", lambda: 0)
    check_gpu(spec_of(params, CHANCE))
    monkeypatch.setattr(devices, "gpus", lambda: 1)
    check_gpu(spec_of(params, VSE))
