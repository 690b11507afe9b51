"""Half-quadratic grids against the same steps group by group in float64, and against rounding to nearest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchvise.core.methods.half_quadratic import HalfQuadratic
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.registry import SCHEMES
from benchvise.core.schemes.integer import IntegerArithmetic
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.half_quadratic import half_quadratic
from benchvise.core.solvers.nearest import project
from tests.core.solvers.solver_samples import correlated_inputs, statistics_of

FLOAT_ZERO = Integer(bits=3, symmetric=False, group_size=32, zero_points="float")


def weight_of(rows: int, columns: int) -> torch.Tensor:
    """Bell-shaped off centre, a few outliers in each row."""
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(3)) * 0.05 + 0.02
    weight[:, ::29] *= 4
    return weight


def group_by_group(group: np.ndarray, solver: HalfQuadratic, bits: int) -> float:
    """The least Σ|w − ŵ|ᵖ on the way, for zero points and scales that are stored exactly."""
    half, beta, p = 2 ** (bits - 1), solver.beta, solver.norm
    scale = (group.max() - group.min()) / (2 * half - 1)
    zero = -0.5 - (group.max() + group.min()) / 2 / scale
    least = np.inf
    for _ in range(solver.iterations + 1):
        codes = np.clip(np.round(group / scale + zero), -half, half - 1)
        error = group - scale * (codes - zero)
        norm = float((np.abs(error) ** p).sum())
        if norm >= least:
            break
        least = norm
        steps = error / scale
        with np.errstate(divide="ignore"):
            stand_in = np.sign(steps) * np.maximum(0, np.abs(steps) - np.abs(steps) ** (p - 1) / beta)
        wanted = group - scale * stand_in
        if solver.scales:
            scale, shift = np.polyfit(codes, wanted, 1)
            zero = -shift / scale
        else:
            zero = float(np.mean(codes - wanted / scale))
        beta *= solver.kappa
    return least


def lp(weight: torch.Tensor, decoded: torch.Tensor, p: float) -> float:
    return float((weight.double() - decoded.double()).abs().pow(p).sum())


@pytest.mark.parametrize("solver", [HalfQuadratic(), HalfQuadratic(scales=False), HalfQuadratic(norm=1.0, beta=3.0)])
def test_it_finds_what_the_slow_way_finds(solver: HalfQuadratic) -> None:
    weight = weight_of(8, 96)
    solution = half_quadratic(weight, FLOAT_ZERO, solver, None, NULL_CONTEXT)
    groups = weight.double().numpy().reshape(-1, 32)
    ours = (weight - solution.decoded).double().abs().pow(solver.norm).view(-1, 32).sum(1).numpy()
    slow = np.array([group_by_group(group, solver, 3) for group in groups])
    # The vectorised search goes on while any group improves, so it may find better grids, never worse ones.
    assert (ours <= slow * 1.002).all()
    assert ours.sum() > 0.9 * slow.sum()


@pytest.mark.parametrize("zero_points", ["integer", "float"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_beats_nearest_in_its_norm(bits: int, zero_points: str, dtype: torch.dtype) -> None:
    weight = weight_of(40, 128).to(dtype)
    scheme = replace(FLOAT_ZERO, bits=bits, zero_points=zero_points)  # type: ignore[arg-type]
    solution = half_quadratic(weight, scheme, HalfQuadratic(), None, NULL_CONTEXT)
    nearest = project(weight, scheme, None, None, NULL_CONTEXT)
    assert lp(weight, solution.decoded, 0.7) < (0.97 if bits < 4 else 1.0) * lp(weight, nearest.decoded, 0.7)
    decoded = IntegerArithmetic.decode(scheme, solution.stored, 0, 40, 128)
    assert torch.equal(decoded, solution.decoded)
    assert solution.notes[0].startswith("half-quadratic: ")


@pytest.mark.parametrize("weight", [torch.zeros(3, 32), torch.full((3, 32), 0.7), torch.full((1, 32), -1e-30)])
@pytest.mark.parametrize("zero_points", ["integer", "float"])
def test_constant_weights(weight: torch.Tensor, zero_points: str) -> None:
    scheme = replace(FLOAT_ZERO, zero_points=zero_points)  # type: ignore[arg-type]
    solution = half_quadratic(weight, scheme, HalfQuadratic(), None, NULL_CONTEXT)
    torch.testing.assert_close(solution.decoded, weight, rtol=0.02, atol=1e-30)


def test_inputs_change_nothing() -> None:
    weight = weight_of(4, 32)
    first = half_quadratic(weight, FLOAT_ZERO, HalfQuadratic(), None, NULL_CONTEXT)
    second = half_quadratic(weight, FLOAT_ZERO, HalfQuadratic(), statistics_of(correlated_inputs(50, 32)), NULL_CONTEXT)
    assert torch.equal(first.decoded, second.decoded)
    assert HalfQuadratic().needs(FLOAT_ZERO) == "weights"


def test_the_number_of_threads_changes_nothing() -> None:
    weight, threads = weight_of(3, 65536), torch.get_num_threads()
    found = []
    for number in (1, 2):
        torch.set_num_threads(number)
        found += [
            half_quadratic(
                weight[:rows],
                replace(FLOAT_ZERO, granularity="channel"),
                HalfQuadratic(iterations=5),
                None,
                NULL_CONTEXT,
            )
            for rows in (1, 3)
        ]
    torch.set_num_threads(threads)
    for one, other in zip(found[:2], found[2:], strict=True):
        assert all(torch.equal(one.stored[name], other.stored[name]) for name in one.stored)


def test_it_refuses_what_has_no_zero_points_of_groups() -> None:
    solver = HalfQuadratic()
    assert "symmetric" in solver.refusal(Integer())
    assert "rows share" in solver.refusal(Integer(symmetric=False, granularity="tensor"))
    assert "integer" in solver.refusal(SCHEMES["sparse"]())
    assert solver.refusal(FLOAT_ZERO) == ""
