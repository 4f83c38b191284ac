"""Placeholder until the branch `statistics` lands."""

import numpy as np


def margin(similarity, gamma, beta):
    """AMFMN Eq. 29."""
    return (
        np.float32(gamma)
        * (np.exp(np.float32(beta)) - np.exp(np.float32(beta) * similarity))
        / np.expm1(np.float32(beta))
    )
