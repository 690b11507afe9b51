"""Integer grids against a loop over groups in numpy, for every width, dtype and granularity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.integer import IntegerArithmetic
from benchvise.core.schemes.integer_grid import pack_columns, unpack_columns
from tests.core.compress.treated_weight import treated_layer, treated_weight
from tests.core.schemes.integer_oracle import quantised, rounded, stored_values, unpacked
from tests.core.schemes.scheme_samples import DTYPES, InMemory, layer_in_file, solve, weights

GRANULARITIES = ("tensor", "channel", "group")
SHAPES = ((1, 12), (7, 24), (33, 60))
GROUP = 12
NAMES = {4: "stem.conv.weight", 3: "model.layers.0.mlp.experts.down_proj"}


def scheme_of(bits: int, symmetric: bool, granularity: str, group: int = GROUP) -> Integer:
    size = {"group_size": group} if granularity == "group" else {}
    return Integer(bits=bits, symmetric=symmetric, granularity=granularity, **size)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_codes_scales_and_values(dtype: str, bits: int, symmetric: bool, granularity: str) -> None:
    scheme = scheme_of(bits, symmetric, granularity)
    for rows, columns in SHAPES:
        values = weights(rows, columns, dtype, seed=rows)
        group = GROUP if granularity == "group" else columns
        expected = quantised(values, bits, symmetric, group, whole=granularity == "tensor")
        solved = solve(values, scheme)
        np.testing.assert_array_equal(solved.stored["weight_scale"].double(), expected.scale)
        np.testing.assert_array_equal(unpacked(solved.stored["weight_packed"].numpy(), bits, columns), expected.codes)
        if not symmetric:
            packed = solved.stored["weight_zero_point"].numpy()
            np.testing.assert_array_equal(unpacked(packed.T, bits, expected.scale.shape[0]).T, expected.zero)
        assert solved.decoded.dtype == values.dtype
        np.testing.assert_array_equal(solved.decoded.double(), expected.decoded)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_what_is_stored_decodes_to_what_was_said(dtype: str, symmetric: bool, granularity: str) -> None:
    for bits in (2, 3, 4, 5, 7, 8):
        scheme = scheme_of(bits, symmetric, granularity)
        values = weights(21, 36, dtype, seed=bits)
        solved = solve(values, scheme)
        whole = IntegerArithmetic.decode(scheme, solved.stored, 0, 21, 36)
        assert torch.equal(whole.to(values.dtype), solved.decoded)
        part = solved.stored | {"weight_packed": solved.stored["weight_packed"][5:9]}
        assert torch.equal(IntegerArithmetic.decode(scheme, part, 5, 9, 36).to(values.dtype), solved.decoded[5:9])
        exact = stored_values(solved.stored, bits, symmetric, 36)
        np.testing.assert_array_equal(rounded(exact.astype(np.float32), dtype), solved.decoded.float())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("clip", [False, True])
def test_the_size_of_the_blocks_does_not_matter(dtype: str, symmetric: bool, granularity: str, clip: bool) -> None:
    scheme, solver = scheme_of(3, symmetric, granularity), Nearest(clip_search=clip, clip_steps=5)
    values = weights(29, 48, dtype)
    expected = solve(values, scheme, solver)
    for block_rows in (1, 4, 28):
        found = solve(values, scheme, solver, block_rows=block_rows)
        assert torch.equal(found.decoded, expected.decoded)
        assert found.stored.keys() == expected.stored.keys()
        for name, tensor in expected.stored.items():
            assert torch.equal(found.stored[name], tensor), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_tensors_are_those_that_the_scheme_announces(
    dtype: str, symmetric: bool, granularity: str, tmp_path: Path
) -> None:
    for number, shape in enumerate([(24, 36), (5, 12), (6, 4, 3, 5), (2, 3, 24), (1, 12)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        name = NAMES.get(len(shape), "block.up.weight")
        values = weights(1, int(np.prod(shape)), dtype).reshape(shape)
        layer = layer_in_file(folder, name, values)
        for bits in (2, 3, 8):
            scheme = scheme_of(bits, symmetric, granularity)
            solved = solve(values.reshape(layer.matrix_shape), scheme)
            announced = {tensor.name: (getattr(torch, tensor.dtype), tensor.shape) for tensor in scheme.storage(layer)}
            assert announced == {name: (found.dtype, tuple(found.shape)) for name, found in solved.stored.items()}


@pytest.mark.parametrize("shape", [(8, 3, 3, 4), (2, 5, 24), (24, 10)])
def test_layers_of_any_shape_are_treated_as_matrices(shape: tuple[int, ...], tmp_path: Path) -> None:
    name = NAMES.get(len(shape), "block.up.weight")
    values = weights(1, int(np.prod(shape)), "bfloat16").reshape(shape)
    layer = layer_in_file(tmp_path, name, values)
    matrix = values.reshape(shape[0], -1) if len(shape) == 4 else values.reshape(-1, shape[-1])
    assert layer.matrix_shape == tuple(matrix.shape)
    found = treated_weight(layer, Treatment(Integer(bits=4, granularity="channel")))
    assert (found.shape, found.dtype) == (values.shape, values.dtype)
    expected = quantised(matrix, 4, True, matrix.shape[1]).decoded
    np.testing.assert_array_equal(found.reshape(matrix.shape).double(), expected)


def test_a_transposed_weight_has_its_scales_along_its_inputs(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    values = weights(24, 10, "float32")  # [in, out]
    layer = layer_in_file(tmp_path, "h.0.attn.c_attn.weight", values)
    assert layer.transposed
    treated = treated_layer(layer, Treatment(Integer(bits=5, group_size=8)))
    assert treated.tail["weight_scale"].shape == (10, 3)
    np.testing.assert_array_equal(treated.weight.T.double(), quantised(values.T, 5, True, 8).decoded)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_extreme_weights(dtype: str, symmetric: bool, granularity: str) -> None:
    largest = min(float(torch.finfo(DTYPES[dtype]).max), float(torch.finfo(torch.float32).max)) / 2
    subnormal = float(torch.finfo(DTYPES[dtype]).smallest_normal) / 4
    rows = {
        "zeros": [0.0] * 24,
        "constant": [0.75] * 24,
        "negative constant": [-0.3] * 24,
        "huge": [largest, -largest / 3] * 12,
        "subnormal": [subnormal, -subnormal / 2, 0.0] * 8,
        "one": [0.0] * 23 + [5.0],
    }
    for bits in (2, 4, 8):
        for name, row in rows.items():
            values = torch.tensor([row, row], dtype=torch.float64).to(DTYPES[dtype])
            solved = solve(values, scheme_of(bits, symmetric, granularity))
            group = GROUP if granularity == "group" else 24
            with np.errstate(over="ignore"):
                expected = quantised(values, bits, symmetric, group, whole=granularity == "tensor")
            np.testing.assert_array_equal(solved.decoded.double(), expected.decoded, err_msg=name)
            assert solved.decoded.isfinite().all(), name
            if name == "zeros":
                assert not solved.decoded.any()
            if name != "subnormal":
                far = values.double().abs().max() * max(torch.finfo(DTYPES[dtype]).eps, 2.0**-23)
                scale = solved.stored["weight_scale"].double().max()
                assert (solved.decoded.double() - values.double()).abs().max() <= 0.5 * scale + far, name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_levels_are_the_values_of_the_coarsest_group(dtype: str, symmetric: bool, granularity: str, bits: int) -> None:
    values = weights(6, 24, dtype, seed=1)
    values[4] *= 8
    scheme = scheme_of(bits, symmetric, granularity)
    solved = solve(values, scheme)
    levels = IntegerArithmetic.levels(scheme, solved.stored)
    assert (levels.dtype, levels.shape) == (torch.float32, (2**bits,))
    assert (levels.diff() > 0).all() or dtype == "bfloat16"
    assert 0 in levels
    scale = solved.stored["weight_scale"]
    row, group = divmod(int(scale.float().argmax()), scale.shape[1])
    width = 24 if granularity != "group" else GROUP
    coarsest = solved.decoded if granularity == "tensor" else solved.decoded[row, group * width : (group + 1) * width]
    assert torch.isin(coarsest.float(), levels).all()


@pytest.mark.parametrize("bits", range(2, 9))
def test_zero_points_of_any_number_of_rows_survive_packing(bits: int) -> None:
    for rows, groups in ((1, 1), (31, 5), (64, 2), (65, 3)):
        codes = torch.randint(0, 1 << bits, (rows, groups), dtype=torch.uint8)
        packed = pack_columns(codes, bits)
        assert (packed.dtype, packed.shape) == (torch.int32, (-(-rows * bits // 32), groups))
        np.testing.assert_array_equal(unpacked(packed.numpy().T, bits, rows).T, codes)
        assert torch.equal(unpack_columns(packed, bits, rows), codes)


def test_values_on_the_grid_survive() -> None:
    for bits in range(2, 9):
        levels = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)).float() * 0.25
        # With an end of the range at half a step beyond, s = max|w| / ((2^b − 1) / 2) is exactly the step.
        values = torch.cat([levels[1:], torch.tensor([(2**bits - 1) / 2 * 0.25])]).unsqueeze(0)
        assert torch.equal(solve(values, scheme_of(bits, True, "channel")).decoded[0, :-1], levels[1:])


def test_a_matrix_in_memory_is_read_in_blocks() -> None:
    values = weights(5, 4, "float32")
    assert [(start, len(block)) for start, block in InMemory(values, 2).blocks()] == [(0, 2), (2, 2), (4, 1)]
