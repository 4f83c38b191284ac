"""Where the weights of a prior lie, for a backbone that starts from them."""

from __future__ import annotations

from rsitr.cells import Layout
from rsitr.params import prior_of


def located(weights: str) -> str:
    """A setting of weights as ``ImageBackbone`` takes it: ``scenes://EXPERIMENT/NAME`` becomes the prior's file.

    Anything else is left as it is. Raises ``ParamsError`` for an address that names no prior.
    """
    prior = prior_of(weights)
    return str(Layout.prior_weights(prior)) if prior else weights
