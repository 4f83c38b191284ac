"""The parameters of a command, checked for the experiment that it is about."""

from __future__ import annotations

from typing import Annotated

import typer

from rsitr.params import Params, load_params
from rsitr.pipeline.specs import open_params

ExperimentArgument = Annotated[str | None, typer.Argument(help="Default: the experiment that params.yaml chooses.")]


def opened(name: str | None) -> tuple[Params, str]:
    """Parameters and the name of an experiment; raises ``ParamsError`` for what is wrong with them."""
    params = load_params()
    name = name or params.experiment
    return open_params(params.model_dump() | {"experiment": params[name] and name}), name
