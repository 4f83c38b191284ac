"""Where the weights of a prior are, for a backbone that starts from them."""

from __future__ import annotations

from rsitr.params import prior_of
from rsitr.records.paths import Paths


def located(weights: str) -> str:
    """A setting of weights as ``ImageBackbone`` takes it: ``scenes://EXPERIMENT/NAME`` becomes the prior's file.

    Anything else is left as it is. Raises ``ParamsError`` for an address that names no prior.
    """
    prior = prior_of(weights)
    return str(Paths.prior_weights(prior)) if prior else weights
