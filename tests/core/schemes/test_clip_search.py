"""The clip search against a loop over groups and factors in float64, and against not searching."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from benchvise.core.kernels.clip import fit_clipped, shrink_factors, squared_error
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from tests.core.schemes.integer_oracle import grid, on_grid
from tests.core.schemes.scheme_samples import DTYPES, solve, weights

GROUP = 16


def scheme_of(bits: int, symmetric: bool, granularity: str) -> Integer:
    size = {"group_size": GROUP} if granularity == "group" else {}
    return Integer(bits=bits, symmetric=symmetric, granularity=granularity, **size)  # type: ignore[arg-type]


def groups_of(values: torch.Tensor, granularity: str) -> np.ndarray:
    """float32 [groups, weights]."""
    size = {"tensor": values.numel(), "channel": values.shape[1], "group": GROUP}[granularity]
    return values.float().numpy().reshape(-1, size)


def best_by_brute_force(
    group: np.ndarray, bits: int, symmetric: bool, dtype: str, factors: list[float]
) -> tuple[float, list[float]]:
    """The least squared error, and the errors of all factors."""
    scale_dtype = "float32" if dtype == "float64" else dtype
    errors = []
    for factor in factors:
        ends = np.array([group.min(), group.max()], np.float32) * np.float32(factor)
        scale, zero = grid(ends, bits, symmetric, scale_dtype)
        decoded = on_grid(group, scale, zero, bits, dtype)[1]
        errors.append(float(np.sum((decoded.astype(np.float64) - group) ** 2)))
    return min(errors), errors


def test_factors_go_evenly_from_one_to_the_least() -> None:
    np.testing.assert_allclose(shrink_factors(5, 0.6), [1.0, 0.9, 0.8, 0.7, 0.6])
    assert shrink_factors(2, 0.1)[0] == 1.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_it_finds_the_least_error_of_all_factors(dtype: str, symmetric: bool, granularity: str, bits: int) -> None:
    values = weights(9, 48, dtype, seed=bits)
    steps, least = 12, 0.5
    solver = Nearest(clip_search=True, clip_steps=steps, clip_least=least)
    solved = solve(values, scheme_of(bits, symmetric, granularity), solver)
    plain = solve(values, scheme_of(bits, symmetric, granularity))
    original = groups_of(values, granularity).astype(np.float64)
    found = ((groups_of(solved.decoded, granularity) - original) ** 2).sum(1)
    unclipped = ((groups_of(plain.decoded, granularity) - original) ** 2).sum(1)
    assert (found <= unclipped * (1 + 1e-6)).all()
    factors = shrink_factors(steps, least)
    expected = [
        best_by_brute_force(group, bits, symmetric, dtype, factors)[0] for group in groups_of(values, granularity)
    ]
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-30)
    if bits == 2:
        assert found.sum() < 0.98 * unclipped.sum(), "outliers are clipped where that pays"


def test_of_equal_errors_the_widest_range_wins() -> None:
    values = torch.zeros(4, 32)
    scale, zero = fit_clipped(
        values, bits=4, group_size=16, symmetric=True, scale_dtype=torch.float32, steps=5, least=0.5
    )
    plain = solve(values, Integer(bits=4, group_size=16)).stored["weight_scale"]
    assert torch.equal(scale, plain)
    assert zero is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_error_of_a_whole_matrix(dtype: str) -> None:
    values = weights(70, 3001, dtype)
    scale = torch.tensor([[0.01]], dtype=values.dtype)
    decoded = on_grid(values.float().numpy(), np.float32(scale.float()), 8, 4, dtype)[1]
    expected = np.sum((decoded.astype(np.float64) - values.double().numpy()) ** 2)
    assert squared_error(values, scale, None, 4) == pytest.approx(expected, rel=1e-7)


def test_schemes_without_scales_are_not_searched() -> None:
    values = weights(4, 10, "float32")
    assert torch.equal(
        solve(values, Sparse(fraction=0.3), Nearest(clip_search=True)).decoded,
        solve(values, Sparse(fraction=0.3)).decoded,
    )


THREADS = """
import hashlib, sys, torch
torch.set_num_threads(int(sys.argv[1]))
from benchvise.core.kernels.clip import fit_clipped, squared_error
generator = torch.Generator().manual_seed(0)
digest = hashlib.sha256()
for rows, columns in ((1, 200_000), (3, 140_000), (5, 40_000), (257, 512)):
    values = torch.randn(rows, columns, generator=generator)
    scale, zero = fit_clipped(values, bits=3, group_size=columns, symmetric=False, scale_dtype=values.dtype,
                              steps=15, least=0.5)
    digest.update(scale.numpy().tobytes() + zero.numpy().tobytes())
    digest.update(repr(squared_error(values, scale[:1], zero[:1], 3)).encode())
print(digest.hexdigest())
"""


def test_the_number_of_threads_changes_nothing() -> None:
    found = {
        subprocess.run([sys.executable, "-c", THREADS, threads], capture_output=True, text=True, check=True).stdout
        for threads in ("1", "2", "3")
    }
    assert len(found) == 1
