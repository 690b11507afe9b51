"""Magnitude pruning against sorting everything at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchvise.core.methods.sparse import Sparse
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.magnitude import kth_magnitude
from benchvise.core.schemes.sparse import SparseArithmetic
from tests.core.compress.treated_weight import treated_weight
from tests.core.schemes.scheme_samples import DTYPES, InMemory, layer_in_file, solve, weights


def zero_places(matrices: list[torch.Tensor], fraction: float) -> list[np.ndarray]:
    """Which weights become zero: the round(f·n) of least magnitude over all, of equal ones the first in row order."""
    flat = np.concatenate([matrix.double().abs().numpy().reshape(-1) for matrix in matrices])
    chosen = np.zeros(flat.size, bool)
    chosen[np.argsort(flat, kind="stable")[: round(fraction * flat.size)]] = True
    ends = np.cumsum([matrix.numel() for matrix in matrices])[:-1]
    parts = np.split(chosen, ends)
    return [part.reshape(matrix.shape) for part, matrix in zip(parts, matrices, strict=True)]


def coarse(rows: int, columns: int, dtype: str, seed: int = 0) -> torch.Tensor:
    """Few distinct magnitudes of both signs, so that most weights are ties; none is zero."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(1, 6, (rows, columns)) / 8 * rng.choice([-1, 1], (rows, columns))).to(
        DTYPES[dtype]
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.3, 0.5, 0.77, 0.999, 1.0])
@pytest.mark.parametrize("block_rows", [1, 4, 1000])
def test_exactly_the_asked_fraction_goes_first_ones_first(dtype: str, fraction: float, block_rows: int) -> None:
    for values in (
        coarse(23, 31, dtype),
        weights(23, 31, dtype),
        coarse(1, 1, dtype),
        torch.zeros(3, 5).to(DTYPES[dtype]),
    ):
        solved = solve(values, Sparse(fraction=fraction), block_rows=block_rows)
        (places,) = zero_places([values], fraction)
        expected = np.where(places, 0, values.double().numpy())
        np.testing.assert_array_equal(solved.decoded.double(), expected)
        assert torch.equal(solved.stored["weight"], solved.decoded)
        assert solved.decoded.dtype == values.dtype
        if (values != 0).all():
            assert int((solved.decoded == 0).sum()) == round(fraction * values.numel())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [0.0, 0.125, 0.1, 0.37, 100.0])
def test_all_weights_up_to_the_threshold_go(dtype: str, threshold: float) -> None:
    scheme = Sparse(criterion="threshold", threshold=threshold)
    for values in (coarse(9, 14, dtype), weights(9, 14, dtype)):
        solved = solve(values, scheme, block_rows=2)
        exact = values.double().numpy()
        np.testing.assert_array_equal(solved.decoded.double(), np.where(np.abs(exact) <= threshold, 0, exact))


def test_a_threshold_is_compared_exactly() -> None:
    """0.1 in bfloat16 is 0.10009765625, above a threshold of 0.1; in float16 it is 0.0999755859375, below."""
    scheme = Sparse(criterion="threshold", threshold=0.1)
    assert solve(torch.tensor([[0.1]]).bfloat16(), scheme).decoded.item() != 0
    assert solve(torch.tensor([[0.1]]).half(), scheme).decoded.item() == 0


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.4, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("block_rows", [3, 1000])
def test_one_threshold_over_layers_of_several_dtypes(fraction: float, block_rows: int) -> None:
    scheme = Sparse(fraction=fraction, scope="global")
    for make in (coarse, lambda rows, columns, dtype: weights(rows, columns, dtype, seed=columns)):
        for dtypes in (("bfloat16", "float32", "float16"), ("float64", "bfloat16", "float64")):
            matrices = [make(rows, rows + 3, dtype) for rows, dtype in zip((5, 16, 9), dtypes, strict=True)]
            shares = SparseArithmetic.share(scheme, [InMemory(matrix, block_rows) for matrix in matrices])
            for matrix, shared, places in zip(matrices, shares, zero_places(matrices, fraction), strict=True):
                solved = solve(matrix, scheme, block_rows=block_rows, shared=shared)
                np.testing.assert_array_equal(solved.decoded.double(), np.where(places, 0, matrix.double().numpy()))


def test_one_threshold_leaves_no_layer_empty() -> None:
    """The layer of small weights keeps one in a hundred; the others give so many more that the sum is as asked."""
    scheme = Sparse(fraction=0.5, scope="global")
    matrices = [
        weights(20, 30, "float32", seed=1),
        weights(20, 20, "float32", seed=2) / 1000,
        weights(10, 30, "float32"),
    ]
    shares = SparseArithmetic.share(scheme, [InMemory(matrix) for matrix in matrices])
    solved = [solve(matrix, scheme, shared=shared).decoded for matrix, shared in zip(matrices, shares, strict=True)]
    assert [bool(shared.note) for shared in shares] == [False, True, False]
    assert int((solved[1] != 0).sum()) == 4
    assert torch.equal(solved[1] != 0, matrices[1].abs() >= matrices[1].abs().flatten().topk(4).values[-1])
    assert sum(int((part == 0).sum()) for part in solved) == 650


@given(
    st.lists(st.floats(-65504, 65504, width=16), min_size=1, max_size=60),
    st.sampled_from(["float16", "float32", "float64"]),
    st.data(),
)
def test_the_kth_magnitude_of_any_values(values: list[float], dtype: str, data: st.DataObject) -> None:
    matrix = torch.tensor([values], dtype=DTYPES[dtype])
    k = data.draw(st.integers(1, len(values)))
    ordered = sorted(abs(value) for value in matrix.double()[0].tolist())
    threshold, below = kth_magnitude([InMemory(matrix)], k)
    assert threshold == ordered[k - 1]
    assert below == sum(value < threshold for value in ordered)


@pytest.mark.parametrize("largest", [float("inf"), 1e308])
def test_every_float64_magnitude_is_told_apart(largest: float) -> None:
    values = torch.tensor([[5e-324, -1e-300, 1.0, 1.0 + 2**-52, -largest]], dtype=torch.float64)
    for k, expected in enumerate(values[0].abs().tolist(), start=1):
        assert kth_magnitude([InMemory(values)], k) == (expected, k - 1)


@pytest.mark.parametrize("name", ["stem.conv.weight", "h.0.attn.c_attn.weight"])
def test_layers_keep_their_shape(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    values = coarse(12, 30, "bfloat16")
    layer = layer_in_file(tmp_path, name, values.reshape(6, 2, 5, 6) if "conv" in name else values)
    found = treated_weight(layer, Treatment(Sparse(fraction=0.35)))
    assert found.shape == layer.shape
    in_rows = values.T if layer.transposed else values
    (places,) = zero_places([in_rows], 0.35)
    expected = np.where(places, 0, in_rows.double().numpy())
    np.testing.assert_array_equal(found.reshape(values.shape).double(), expected.T if layer.transposed else expected)


def test_pruning_has_no_grid() -> None:
    assert SparseArithmetic.levels(Sparse(), {"weight": torch.zeros(2, 2)}) is None
