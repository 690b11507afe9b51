"""Patterns, scores and stored forms of sparsity against sorting in NumPy and against exact bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.schemes.sparse_units import kept_units
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.nearest import nearest_matrix
from tests.core.schemes.scheme_samples import layer_in_file, solve, weights
from tests.core.solvers.solver_samples import correlated_inputs, statistics_of

ROWS, COLUMNS = 12, 48
TWO_OF_FOUR = Sparse(criterion="n_of_m")
FORMS = {
    "row": Sparse(fraction=0.3, scope="row"),
    "layer": Sparse(fraction=0.7, storage_form="bitmask"),
    "per row": Sparse(fraction=0.4, scope="row", storage_form="bitmask"),
    "cells": Sparse(fraction=0.5, pattern="block", block_rows=3, block_columns=4, storage_form="bitmask"),
    "rows": Sparse(fraction=0.25, pattern="rows", storage_form="bitmask"),
    "columns": Sparse(fraction=0.6, pattern="columns", storage_form="bitmask"),
    "2 of 4": replace(TWO_OF_FOUR, storage_form="indices"),
    "3 of 16": replace(TWO_OF_FOUR, kept=3, of=16, storage_form="indices"),
    "2 of 4 in a mask": replace(TWO_OF_FOUR, storage_form="bitmask"),
    "int4": replace(TWO_OF_FOUR, storage_form="indices", values="integer", group_size=16),
    "int3 in a mask": Sparse(fraction=0.5, storage_form="bitmask", values="integer", bits=3, group_size=16),
    "everything": Sparse(fraction=1.0, storage_form="bitmask"),
    "nothing": Sparse(fraction=0.0, storage_form="bitmask"),
}


def matrix(rows: int = ROWS, columns: int = COLUMNS, *, seed: int = 0) -> torch.Tensor:
    """Weights that are all of another magnitude, none zero."""
    rng = np.random.default_rng(seed)
    sizes = rng.permutation(np.arange(1, rows * columns + 1)) / (rows * columns)
    return torch.from_numpy((sizes * rng.choice([-1, 1], sizes.shape)).reshape(rows, columns)).float()


def kept_by_sorting(scheme: Sparse, values: np.ndarray) -> np.ndarray:
    """Which weights stay, one group after the other."""
    rows, columns = values.shape
    kept = np.zeros(values.shape, bool)
    if scheme.criterion == "n_of_m":
        for row in range(rows):
            for start in range(0, columns, scheme.of):
                best = np.argsort(-np.abs(values[row, start : start + scheme.of]))[: scheme.kept]
                kept[row, start + best] = True
        return kept
    if scheme.scope == "row":
        for row in range(rows):
            kept[row, np.argsort(np.abs(values[row]))[round(scheme.fraction * columns) :]] = True
        return kept
    shapes = {"block": (scheme.block_rows, scheme.block_columns), "rows": (1, columns), "columns": (rows, 1)}
    tall, wide = shapes.get(scheme.pattern, (1, 1))
    places = [(top, left) for top in range(0, rows, tall) for left in range(0, columns, wide)]
    sums = [float((values[top : top + tall, left : left + wide] ** 2).sum()) for top, left in places]
    for place in np.argsort(sums, kind="stable")[round(scheme.fraction * len(places)) :]:
        top, left = places[place]
        kept[top : top + tall, left : left + wide] = True
    return kept


def layer_of(values: torch.Tensor) -> Layer:
    entry = TensorEntry("up.weight", str(values.dtype)[6:], tuple(values.shape), "", 0, values.nbytes)
    return Layer("up", entry, "mlp.up", "linear", 0)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_what_stays_is_what_sorting_says_and_the_bytes_are_exact(name: str, dtype: torch.dtype) -> None:
    scheme, values = FORMS[name], matrix().to(dtype)
    solved = solve(values, scheme, block_rows=5)
    kept = kept_by_sorting(scheme, values.double().numpy())
    if dtype != torch.bfloat16:  # magnitudes that round to the same one may be chosen otherwise
        assert np.array_equal(solved.decoded.numpy() != 0, kept & (solved.decoded.numpy() != 0))
        if scheme.integer is None:
            np.testing.assert_array_equal(solved.decoded.double(), np.where(kept, values.double(), 0))
    declared = {one.name: (getattr(torch, one.dtype), one.shape) for one in scheme.storage(layer_of(values))}
    assert declared == {name: (one.dtype, tuple(one.shape)) for name, one in solved.stored.items()}
    decode = arithmetic_of(scheme).decode
    if "weight" not in solved.stored:
        for start, stop in ((0, ROWS), (5, 9)):
            rows = decode(scheme, solved.stored, start, stop, COLUMNS).to(dtype)
            assert torch.equal(rows, solved.decoded[start:stop])


@pytest.mark.parametrize("name", [name for name in FORMS if name not in ("everything", "row")])
def test_tuning_leaves_zeros_and_begins_with_what_is_stored(name: str) -> None:
    solved = solve(matrix(), FORMS[name])
    tunable = arithmetic_of(FORMS[name]).tunable(FORMS[name], solved.stored, COLUMNS)
    assert tunable is not None
    torch.testing.assert_close(tunable.weight(tunable.parameters), solved.decoded)
    doubled = tunable.weight({name: 2 * values for name, values in tunable.parameters.items()})
    torch.testing.assert_close(doubled, 2 * solved.decoded)


def test_two_of_four_in_16_bits_take_nine_bits_a_weight() -> None:
    values = torch.zeros(64, 256, dtype=torch.bfloat16)
    for form in ("indices", "bitmask"):
        assert replace(TWO_OF_FOUR, storage_form=form).bytes_after(layer_of(values)) * 8 == 9 * values.numel()


def test_wanda_goes_by_the_size_of_inputs_and_obs_by_the_loss_that_is_left() -> None:
    inputs = correlated_inputs(500, COLUMNS)
    statistics, weight = statistics_of(inputs), matrix()
    hessian = statistics.hessian.double()
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(COLUMNS, dtype=torch.float64)
    costs = {"inputs": (inputs**2).mean(0), "obs": 1 / torch.linalg.inv(damped).diagonal()}
    for score, cost in costs.items():
        scheme = Sparse(fraction=0.5, scope="row", score=score)  # type: ignore[arg-type]
        assert Nearest().needs(scheme) == "inputs"
        found = nearest_matrix(weight, scheme, Nearest(), statistics, NULL_CONTEXT)
        expected = kept_by_sorting(scheme, (weight.double() * cost.sqrt()).numpy())
        assert (found.decoded.numpy() != 0).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        (Sparse(criterion="n_of_m", kept=2, of=5), "does not divide"),
        (Sparse(criterion="n_of_m", kept=4, of=4), "nothing to prune"),
        (Sparse(pattern="block", block_rows=5, block_columns=4), "do not divide"),
        (Sparse(scope="global", score="obs"), "one threshold over all layers"),
        (Sparse(scope="global", storage_form="bitmask"), "one threshold over all layers"),
        (Sparse(storage_form="indices"), "places within every m"),
        (Sparse(storage_form="bitmask", values="integer", group_size=36), "group size"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(scheme: Sparse, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        scheme.fitted(layer_of(matrix()))
    assert caught.value.remedy


def test_transposed_weights_and_kernels_are_taken_as_matrices(tmp_path: Path) -> None:
    layer = layer_in_file(tmp_path, "stem.conv.weight", weights(6, 2 * 3 * 4, "float32").reshape(6, 2, 3, 4))
    scheme = replace(TWO_OF_FOUR, storage_form="indices")
    assert scheme.fitted(layer)[0].kept_weights(*layer.matrix_shape) == 6 * 12


@pytest.mark.parametrize(("kept", "of"), [(1, 2), (2, 4), (3, 4), (4, 8), (5, 16)])
def test_of_equal_scores_the_later_ones_stay(kept: int, of: int) -> None:
    score = np.random.default_rng(of).integers(0, 4, (6, 5 * of)).astype(np.float32)
    found = kept_units(replace(TWO_OF_FOUR, kept=kept, of=of), torch.from_numpy(score), 0, score.shape[1])
    groups = score.reshape(-1, of)
    expected = np.zeros(groups.shape, bool)
    for group, row in zip(groups, expected, strict=True):
        row[sorted(range(of), key=lambda place: (group[place], place))[of - kept :]] = True
    np.testing.assert_array_equal(found.numpy(), expected.reshape(score.shape))
