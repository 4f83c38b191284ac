"""Which artefacts are to be computed on a GPU."""

from __future__ import annotations

from rsitr.errors import RsitrError
from rsitr.gpus import gpus
from rsitr.methods.catalog import schemas
from rsitr.params import Params, load_params
from rsitr.records.artefact import ArtefactSpec
from rsitr.records.cell import Spec


def needs_gpu(params: Params, spec: ArtefactSpec) -> bool:
    """Whether its experiment says so; a cell of a method without training needs none."""
    trains = not isinstance(spec, Spec) or schemas()[spec.cell.method_name]["trainable"]
    return trains and params[_experiment(spec)].needs_gpu


def check_gpu(spec: ArtefactSpec) -> None:
    """Raise ``RsitrError`` where an artefact needs a GPU and this process may use none."""
    if not gpus() and needs_gpu(load_params(), spec):
        raise RsitrError(
            f"{spec.path} needs a GPU and there is none here: ask the scheduler for one, look at CUDA_VISIBLE_DEVICES, "
            f"or set experiments.{_experiment(spec)}.needs_gpu to false in params.yaml to compute on the CPU"
        )


def _experiment(spec: ArtefactSpec) -> str:
    return spec.place.partition("/")[0]
