"""The dynamic margin against its formula in 60 digits, its shape, and what is refused."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rsitr.captions.margin import margin
from rsitr.errors import DatasetError, ParamsError

similarities = st.floats(0, 1)
betas = st.floats(-1e6, 1e6)


def formula(similarity, gamma, beta):
    """Eq. 29 as it is printed."""
    with localcontext(prec=60):
        s, b = Decimal(similarity), Decimal(beta)
        return float(Decimal(gamma) * (b.exp() - (b * s).exp()) / (b.exp() - 1))


@pytest.mark.parametrize("beta", [-700.0, -20.0, -5.0, -0.1, -1e-6, -1e-15, 1e-15, 1e-6, 0.1, 5.0, 20.0, 700.0])
@pytest.mark.parametrize("similarity", [0.0, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-9, 1.0])
def test_the_formula_is_met_to_the_last_digits(similarity, beta):
    # The product of beta and S is rounded once, before the exponential makes an error of beta times as much of it.
    expected = formula(similarity, 0.6, beta)
    assert float(margin(similarity, 0.6, beta)) == pytest.approx(expected, rel=1e-15 * (5 + abs(beta)), abs=0)


@pytest.mark.parametrize("beta", [0.0, -0.0, 5e-324, -1e-300, 1e-17])
def test_near_zero_it_is_a_line(beta):
    assert margin([0.0, 0.25, 1.0], 0.8, beta).tolist() == [0.8, pytest.approx(0.6), 0.0]


@pytest.mark.parametrize("beta", [1e4, 1.7e308])
def test_extreme_settings_are_a_step(beta):
    """A margin for all but equal captions, and a margin for unrelated ones alone."""
    assert margin([0.0, 0.5, 1.0], 0.5, beta).tolist() == [0.5, 0.5, 0.0]
    assert margin([0.0, 0.5, 1.0], 0.5, -beta).tolist() == [0.5, 0.0, 0.0]


@given(similarities, similarities, st.floats(1e-3, 10), betas)
@example(0.0, 1.0, 0.2, -1e6)
def test_more_similar_captions_never_have_a_larger_margin(one, other, gamma, beta):
    less, more = sorted((one, other))
    large, small = (float(margin(s, gamma, beta)) for s in (less, more))
    assert gamma * (1 + 1e-12) >= large >= small * (1 - 1e-12)
    assert small >= 0


@given(similarities, st.floats(-50, 50))
def test_the_curves_of_opposite_settings_mirror_each_other(similarity, beta):
    """alpha(S, beta) + alpha(1 - S, -beta) is gamma: each curve is the other, turned by half a turn."""
    both = margin(similarity, 1, beta) + margin(1 - similarity, 1, -beta)
    assert float(both) == pytest.approx(1, abs=1e-12)


def test_half_precision_and_any_shape():
    stored = np.array([[0.0, 0.5], [1.0, 0.25]], dtype=np.float16)
    found = margin(stored, 0.5, 5.0)
    assert (found.dtype, found.shape) == (np.float64, (2, 2))
    assert found[1, 1] == margin(0.25, 0.5, 5.0)
    assert margin(np.zeros((0, 3)), 0.5, 5.0).shape == (0, 3)


@pytest.mark.parametrize("gamma", [0.0, -0.1, float("nan"), float("inf")])
def test_a_margin_without_size_is_refused(gamma):
    with pytest.raises(ParamsError, match="give the largest margin, a number above 0"):
        margin(0.5, gamma, 5.0)


@pytest.mark.parametrize("beta", [float("nan"), float("inf"), -float("inf")])
def test_a_setting_that_is_no_number_is_refused(beta):
    with pytest.raises(ParamsError, match="give a finite number"):
        margin(0.5, 0.2, beta)


@pytest.mark.parametrize("wrong", [-1e-9, 1.001, float("nan")])
def test_a_similarity_out_of_range_is_refused_by_value(wrong):
    with pytest.raises(DatasetError, match=f"^{wrong} is no similarity: every value must lie between 0 and 1"):
        margin([0.5, wrong], 0.2, 5.0)
