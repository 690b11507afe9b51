"""Zero points that are floating numbers, and the search of all groups of a matrix at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.kernels.clip import shrink_factors
from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.integer import IntegerArithmetic
from benchvise.core.schemes.integer_grid import IntegerGrid
from tests.core.schemes.scheme_samples import DTYPES, layer_in_file, solve, weights


def scheme_of(granularity: str, *, bits: int = 3, **more: object) -> Integer:
    size = {"group_size": 16} if granularity == "group" else {}
    return Integer(bits=bits, symmetric=False, granularity=granularity, **size, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("clip", [True, False])
def test_rows_streamed_are_stored_and_decoded(dtype: str, granularity: str, clip: bool, tmp_path: Path) -> None:
    values = weights(9, 48, dtype)
    scheme = scheme_of(granularity, zero_points="float")
    solved = solve(values, scheme, Nearest(clip_search=clip), block_rows=4)
    declared = {
        one.name: (one.dtype, one.shape) for one in scheme.storage(layer_in_file(tmp_path, "up.weight", values))
    }
    assert declared == {
        name: (str(one.dtype).removeprefix("torch."), tuple(one.shape)) for name, one in solved.stored.items()
    }
    decoded = IntegerArithmetic.decode(scheme, solved.stored, 0, 9, 48)
    assert torch.equal(decoded.to(values.dtype), solved.decoded)
    scale, zero = solved.stored["weight_scale"].double(), solved.stored["weight_zero_point"].double()
    codes = unpack_rows(solved.stored["weight_packed"], 3, 48).double().view(9, scale.shape[1], -1)
    expected = (scale[..., None] * (codes - 4 - zero[..., None])).view(9, 48)
    torch.testing.assert_close(decoded.double(), expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_grid_reaches_from_the_least_to_the_greatest(dtype: str) -> None:
    values = weights(9, 48, dtype).abs() + 1
    solved = solve(values, scheme_of("group", bits=4, zero_points="float"))
    assert (solved.decoded - values).abs().max() < 0.02
    assert (solve(values, scheme_of("group", bits=4)).decoded - values).abs().max() > 0.02, "those reach from zero"


def test_tuning_starts_from_what_is_stored() -> None:
    values = weights(9, 48, "float32")
    for zero_points in ("integer", "float"):
        scheme = scheme_of("group", zero_points=zero_points)
        solved = solve(values, scheme)
        tunable = IntegerArithmetic.tunable(scheme, solved.stored, 48)
        torch.testing.assert_close(tunable.weight(tunable.parameters), solved.decoded)
        assert ("weight_zero_point" in tunable.parameters) == (zero_points == "float")
        levels = IntegerArithmetic.levels(scheme, solved.stored)
        row, group = divmod(int(solved.stored["weight_scale"].argmax()), 3)
        found = solved.decoded[row, group * 16 : group * 16 + 16].unique()
        assert all(float((levels - value).abs().min()) < 1e-6 for value in found)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_all_groups_are_searched_by_importance(symmetric: bool, layout: str) -> None:
    values = weights(7, 64, "float32")
    values = values.T.contiguous().T if layout == "columns" else values
    importance = torch.rand(64, generator=torch.Generator().manual_seed(2)) ** 4
    scheme = Integer(bits=2, symmetric=symmetric, group_size=16)
    steps, least = 9, 0.4

    def error(clip: ClipSearch | None, factor: float, weights_of_columns: torch.Tensor | None) -> np.ndarray:
        """Weighted squared errors [rows, groups] of `values` on the grid fitted to shrunken ones."""
        grid = IntegerGrid(scheme, 7, 64, values.dtype, clip=clip)
        grid.fit(0, values * factor, weights_of_columns)
        squares = (grid.nearest(0, values) - values).square() * importance
        return squares.view(7, 4, 16).sum(2).double().numpy()

    candidates = np.stack([error(None, factor, None) for factor in shrink_factors(steps, least)])
    found = error(ClipSearch(steps, least), 1.0, importance)
    np.testing.assert_allclose(found, candidates.min(0), rtol=1e-4)
    assert found.sum() < error(ClipSearch(steps, least), 1.0, None).sum()


def test_only_asymmetric_grids_have_them() -> None:
    assert not Integer(zero_points="float").float_zero
    assert Integer(zero_points="float").tag == Integer().tag
    assert scheme_of("group", zero_points="float").tag == "int3 g16 asym float zero"
