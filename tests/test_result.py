"""Values written with their errors, as a paper would."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcvar.result import Estimate, concise


def read(text):
    """Value and error that a concise text stands for."""
    sign, whole, decimals, error, exponent = re.fullmatch(
        r"(-?)(\d+)(?:\.(\d+))?\((\d+(?:\.\d+)?)\)(?:e([+-]\d+))?", text
    ).groups()
    places = len(decimals or "")
    power = 10.0 ** int(exponent or 0)
    value = float(f"{sign}{whole}.{decimals or 0}") * power
    return value, float(error) * 10.0**-places * power


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.floats(1e-12, 1e12) | st.floats(-1e12, -1e-12) | st.just(0.0),
    st.floats(1e-10, 1e10),
)
def test_round_trip(value, error):
    """Two digits of the error survive, and the value to a twentieth of the error."""
    if abs(value) > 1e12 * error:
        return  # beyond the digits of a double
    got_value, got_error = read(concise(value, error))
    assert got_error == pytest.approx(error, rel=0.0501)
    assert abs(got_value - value) <= 0.0502 * error + 1e-12 * abs(value)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (3.14159, 0.0026, "3.1416(26)"),
        (-0.5, 0.1, "-0.50(10)"),
        (0.0, 12.0, "0(12)"),
        (123456.0, 1234.0, "123500(1200)"),
        (6.02214076e23, 1.1e18, "6.022141(11)e+23"),
        (1.6e-19, 3e-21, "1.600(30)e-19"),
        (float("inf"), 1.0, "inf(1)"),
        (1.0, float("inf"), "1(inf)"),
        (2.5, 0.0, "2.5(0)"),
    ],
)
def test_examples(value, error, text):
    assert concise(value, error) == text


def test_limits_of_a_number_are_numbers_and_of_an_array_arrays():
    one = Estimate(value=2.0, standard_error=0.5, n=10).confidence_interval(0.9)
    assert (type(one.low), type(one.high)) == (float, float)
    two = Estimate(value=np.ones(2), standard_error=np.ones(2), n=10).confidence_interval(0.9)
    assert two.low.shape == two.high.shape == (2,)
    assert one.low == pytest.approx(2 - 0.5 * 1.6448536, rel=1e-6)
