"""Non-linear grids against their formulas and against slow searches for the scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.schemes.nonlinear import NonLinearArithmetic
from tests.core.schemes.scheme_samples import DTYPES, solve, weights


@pytest.mark.parametrize("bits", range(2, 9))
def test_tanh_rounds_as_the_formula_says(bits: int) -> None:
    scheme = NonLinear(bits=bits, rounding="curve", granularity="channel")
    values = weights(5, 60, "float32")
    solved = solve(values, scheme)
    last = (1 << bits) - 1
    x = values.double() / solved.stored["weight_scale"].double()
    expected = ((torch.tanh(x) + 1) / 2 * last).round()
    codes = unpack_rows(solved.stored["weight_packed"], bits, 60)
    assert torch.equal(codes.double(), expected)
    inner = (codes > 0) & (codes < last)
    decoded = solved.stored["weight_scale"].double() * torch.atanh(2 * codes.double() / last - 1)
    torch.testing.assert_close(solved.decoded.double()[inner], decoded[inner], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("curve", ["tanh", "sigmoid", "logarithmic"])
def test_levels_ascend_are_symmetric_and_finite(bits: int, curve: str) -> None:
    levels = NonLinearArithmetic.element(NonLinear(curve=curve, bits=bits)).levels  # type: ignore[arg-type]
    assert len(levels) == 1 << bits
    assert levels.isfinite().all()
    assert (levels.diff() > 0).all()
    torch.testing.assert_close(levels, -levels.flip(0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rounding", ["nearest", "curve"])
def test_sigmoid_is_tanh_of_half_the_scale(dtype: str, rounding: str) -> None:
    values = weights(6, 64, dtype)
    tanh, sigmoid = (
        solve(values, NonLinear(curve=curve, bits=3, group_size=16, rounding=rounding))  # type: ignore[arg-type]
        for curve in ("tanh", "sigmoid")
    )
    assert torch.equal(tanh.decoded, sigmoid.decoded)
    assert torch.equal(tanh.stored["weight_packed"], sigmoid.stored["weight_packed"])
    assert torch.equal(tanh.stored["weight_scale"], 2 * sigmoid.stored["weight_scale"])


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_scale_is_about_the_best_there_is(bits: int) -> None:
    values = weights(12, 64, "float32", seed=bits)
    scheme = NonLinear(bits=bits, granularity="channel")
    solved = solve(values, scheme)
    levels = NonLinearArithmetic.element(scheme).levels.double().numpy()
    for row, decoded in zip(values.double().numpy(), solved.decoded.double().numpy(), strict=True):
        top = np.abs(row).max() / levels[-1]
        best = min(
            float(np.square(np.abs(row[None, :] - scale * levels[:, None]).min(0)).sum())
            for scale in np.geomspace(0.05 * top, 2 * top, 3000)
        )
        assert float(np.square(row - decoded).sum()) <= 1.08 * best


@pytest.mark.parametrize("half_steps", [False, True])
def test_logarithms_are_signed_powers_of_two(half_steps: bool) -> None:
    scheme = NonLinear(curve="logarithmic", bits=4, half_steps=half_steps, group_size=16)
    values = weights(6, 64, "float32")
    solved = solve(values, scheme)
    exponents = np.log2(solved.decoded.abs().double().numpy())
    step = 0.5 if half_steps else 1.0
    np.testing.assert_allclose(exponents / step, np.round(exponents / step), atol=1e-6)
    top = np.log2(solved.stored["weight_scale"].float().numpy()).repeat(16, 1)
    assert ((exponents <= top) & (exponents >= top - 7 * step - 1e-6)).all()
    assert ((solved.decoded > 0) == (values > 0))[values != 0].all()
    if not half_steps:
        assert torch.equal(torch.frexp(solved.decoded)[0].abs(), torch.full_like(values, 0.5))


def test_logarithms_by_hand() -> None:
    values = torch.tensor([[8.0, -4.0, 2.0, 1.0, 0.99, -1.49, 1.51, 3.1]])
    nearest = NonLinear(curve="logarithmic", bits=3, granularity="channel")
    assert solve(values, nearest).decoded.tolist() == [[8.0, -4.0, 2.0, 1.0, 1.0, -1.0, 2.0, 4.0]]
    curve = NonLinear(curve="logarithmic", bits=3, granularity="channel", rounding="curve")
    assert solve(values, curve).decoded.tolist() == [[8.0, -4.0, 2.0, 1.0, 1.0, -2.0, 2.0, 4.0]]


def test_eight_bit_logarithms_reach_down_to_nothing() -> None:
    values = torch.tensor([[1.0, 1e-30, -1e-38, 0.0]])
    decoded = solve(values, NonLinear(curve="logarithmic", bits=8, granularity="channel")).decoded
    assert decoded[0, 0] == 1.0
    assert decoded[0, 1] == 2.0 ** round(math.log2(1e-30))
    assert decoded.abs()[0, 3] < 1e-37


def test_nearest_rounding_errs_less_than_rounding_under_the_curve() -> None:
    values = weights(16, 128, "float32")
    for curve in ("tanh", "logarithmic"):
        near, under = (
            (solve(values, NonLinear(curve=curve, rounding=rounding)).decoded - values).square().sum()  # type: ignore[arg-type]
            for rounding in ("nearest", "curve")
        )
        assert near < under


def test_searching_schemes_say_so() -> None:
    assert NonLinear().searched
    assert not Floating().searched
