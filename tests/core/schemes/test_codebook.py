"""Scalar code books against a brute-force search for the nearest level, the published table, and exact bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.codebook import CodebookArithmetic
from benchvise.core.schemes.normal_float import NF4, normal_float_levels, quantiles_of_normal
from tests.core.schemes.integer_oracle import rounded, unpacked
from tests.core.schemes.scheme_samples import DTYPES, layer_in_file, solve, weights

KINDS = ("normal_float", "quantile", "kmeans")
GRANULARITIES = ("tensor", "channel", "group")
ROWS, COLUMNS, GROUP = 11, 96, 16

# bitsandbytes and the QLoRA paper's appendix E print these sixteen numbers.
PUBLISHED = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def scheme_of(kind: str, bits: int, granularity: str) -> Codebook:
    size = {"group_size": GROUP} if granularity == "group" else {}
    return Codebook(kind=kind, bits=bits, granularity=granularity, **size)  # type: ignore[arg-type]


def tables(stored: dict[str, torch.Tensor], scheme: Codebook, dtype: str) -> np.ndarray:
    """The levels of every weight, [rows, columns, levels], from the stored tensors."""
    if scheme.kind == "normal_float":
        scale = stored["weight_scale"].float().numpy()
        levels = rounded(np.array(normal_float_levels(scheme.bits), np.float32) * scale[..., None], dtype)
    else:
        levels = stored["weight_codebook"].float().numpy()
        levels = levels[:, None] if levels.ndim == 2 else levels
    groups = levels.shape[1]
    return np.broadcast_to(np.repeat(levels, COLUMNS // groups, 1), (ROWS, COLUMNS, scheme.levels))


def test_the_published_table() -> None:
    assert list(NF4) == PUBLISHED
    np.testing.assert_allclose(quantiles_of_normal(4), PUBLISHED, atol=2e-7, rtol=0)
    assert normal_float_levels(4) is NF4


@pytest.mark.parametrize("bits", range(2, 9))
def test_normal_float_of_any_width(bits: int) -> None:
    levels = normal_float_levels(bits)
    assert len(levels) == 1 << bits
    assert list(levels) == sorted(set(levels))
    assert levels.index(0.0) == (1 << (bits - 1)) - 1
    assert levels[-1] == 1.0
    assert levels[0] == pytest.approx(-1.0) or bits == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_takes_its_nearest_level(kind: str, bits: int, granularity: str, dtype: str) -> None:
    if kind == "normal_float" and bits == 1:
        return
    values, scheme = weights(ROWS, COLUMNS, dtype), scheme_of(kind, bits, granularity)
    solved = solve(values, scheme, block_rows=4)
    levels = tables(solved.stored, scheme, dtype).astype(np.float64)
    codes = unpacked(solved.stored["weight_packed"].numpy(), bits, COLUMNS)
    chosen = np.take_along_axis(levels, codes[..., None], 2)[..., 0]
    np.testing.assert_array_equal(chosen.astype(np.float32), solved.decoded.float().numpy())
    wide = values.float().double().numpy()
    nearest = np.abs(levels - wide[..., None]).min(2)
    # Ties, and levels that round in the weight's dtype, may go either way.
    slack = 2.0 * torch.finfo(DTYPES[dtype] if dtype != "float64" else torch.float32).eps * np.abs(levels).max()
    assert (np.abs(chosen - wide) <= nearest + slack).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("kind", KINDS)
def test_stored_tensors_bytes_and_decoding(kind: str, granularity: str, dtype: str, tmp_path: Path) -> None:
    values, scheme = weights(ROWS, COLUMNS, dtype), scheme_of(kind, 3, granularity)
    solved = solve(values, scheme, block_rows=4)
    layer = layer_in_file(tmp_path, "block.up.weight", values)
    declared = {one.name: (getattr(torch, one.dtype), one.shape) for one in scheme.storage(layer)}
    assert declared == {name: (one.dtype, tuple(one.shape)) for name, one in solved.stored.items()}
    assert scheme.bytes_after(layer) == sum(one.nbytes for one in solved.stored.values())
    assert torch.equal(
        CodebookArithmetic.decode(scheme, solved.stored, 0, ROWS, COLUMNS).to(values.dtype), solved.decoded
    )
    some = solved.stored | {"weight_packed": solved.stored["weight_packed"][3:7]}
    part = CodebookArithmetic.decode(scheme, some, 3, 7, COLUMNS)
    assert torch.equal(part.to(values.dtype), solved.decoded[3:7])
    tunable = CodebookArithmetic.tunable(scheme, solved.stored, COLUMNS)
    parameters = {name: one.requires_grad_() for name, one in tunable.parameters.items()}
    weight = tunable.weight(parameters)
    assert torch.equal(weight.to(part.dtype), CodebookArithmetic.decode(scheme, solved.stored, 0, ROWS, COLUMNS))
    weight.square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in parameters.values())


@pytest.mark.parametrize("importance", [False, True])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("kind", KINDS)
def test_column_by_column_is_the_same_as_at_once(kind: str, granularity: str, importance: bool) -> None:
    values = weights(ROWS, COLUMNS, "bfloat16").float()
    weighing = torch.rand(COLUMNS, generator=torch.Generator().manual_seed(5)) if importance else None
    scheme = scheme_of(kind, 3, granularity)
    whole, parts = (CodebookArithmetic.grid(scheme, ROWS, COLUMNS, torch.bfloat16) for _ in range(2))
    whole.fit(0, values, weighing)
    for start in range(0, COLUMNS, parts.span):
        one = None if weighing is None else weighing[start : start + parts.span]
        parts.fit(start, values[:, start : start + parts.span], one)
    codes = whole.encode(0, values)
    turned = values.T.contiguous()
    single = torch.cat([parts.encode(c, turned[c : c + 1].T) for c in range(COLUMNS)], 1)
    assert torch.equal(codes, single)
    assert codes.dtype == single.dtype == torch.uint8
    assert torch.equal(codes[:, 5:44], parts.encode(5, values[:, 5:44]))
    decoded = whole.decode(0, codes)
    assert torch.equal(decoded, torch.cat([parts.decode(c, codes[:, c : c + 1]) for c in range(COLUMNS)], 1))
    assert torch.equal(decoded[:, 5:44], parts.decode(5, codes[:, 5:44]))
    assert torch.equal(whole.nearest(0, decoded), decoded), "what is representable stays"
    stored = whole.stored(codes)
    assert torch.equal(CodebookArithmetic.decode(scheme, stored, 0, ROWS, COLUMNS).float(), decoded)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_weighing_by_importance_lowers_the_weighted_error(granularity: str) -> None:
    values = torch.randn(64, 128, generator=torch.Generator().manual_seed(6))
    # The columns that matter hold small weights, so that plain k-means spends its levels elsewhere.
    importance = torch.rand(128, generator=torch.Generator().manual_seed(7)) ** 8
    values *= 1 / (0.2 + importance)
    scheme = Codebook(kind="kmeans", bits=3, granularity=granularity, group_size=64)  # type: ignore[arg-type]
    errors = []
    for told in (None, importance):
        grid = CodebookArithmetic.grid(scheme, 64, 128, torch.float32)
        grid.fit(0, values, told)
        errors.append(float(((grid.nearest(0, values) - values).double().square() * importance).sum()))
    assert errors[1] < 0.8 * errors[0]


def test_kmeans_is_near_the_best_there_is_for_a_bell_curve() -> None:
    values = torch.randn(32, 256, generator=torch.Generator().manual_seed(8))
    error = {
        kind: float((solve(values, Codebook(kind=kind, granularity="channel")).decoded - values).square().mean())  # type: ignore[arg-type]
        for kind in KINDS
    }
    assert error["kmeans"] < error["quantile"]
    assert error["kmeans"] < error["normal_float"]
    assert error["kmeans"] < 1.1 * 0.009497, "Lloyd and Max: what 16 levels leave of a bell curve's variance"


def test_clip_search_lowers_the_error_of_normal_float() -> None:
    values, scheme = weights(40, 128, "float32"), Codebook(bits=3, group_size=32)
    plain = solve(values, scheme)
    clipped = solve(values, scheme, Nearest(clip_search=True, clip_least=0.5))
    groups = [(one.decoded - values).view(40, 4, 32).square().sum(2) for one in (plain, clipped)]
    assert (groups[1] <= groups[0] * (1 + 1e-6)).all()
    assert groups[1].sum() < 0.95 * groups[0].sum()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 32), (5, 32), (1, 16)])
def test_constant_zero_and_single_rows_are_exact(
    kind: str, granularity: str, dtype: str, shape: tuple[int, int]
) -> None:
    for value in (0.0, 0.37, -1.5):
        values = torch.full(shape, value, dtype=DTYPES[dtype])
        decoded = solve(values, scheme_of(kind, 4, granularity)).decoded
        assert torch.equal(decoded.float(), values.float())


@pytest.mark.parametrize("kind", ["quantile", "kmeans"])
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_fewer_distinct_values_than_levels_are_exact(kind: str, granularity: str) -> None:
    choice = torch.tensor([-0.31, 0.0, 0.007, 0.5, 0.9])
    values = choice[torch.randint(0, 5, (8, 32), generator=torch.Generator().manual_seed(9))].bfloat16()
    assert torch.equal(solve(values, scheme_of(kind, 3, granularity)).decoded, values)


def test_one_rare_value_in_a_large_tensor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchvise.core.schemes.codebook_grid._SAMPLE", 100)
    values = torch.zeros(40, 50)
    values[7, 13], values[20, 4] = 3.3, -0.1
    assert torch.equal(solve(values, scheme_of("kmeans", 2, "tensor")).decoded, values)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_column(kind: str, granularity: str) -> None:
    values = torch.tensor([[0.5], [-2.0], [0.0]])
    assert torch.equal(solve(values, scheme_of(kind, 4, "channel")).decoded, values)
    grid = CodebookArithmetic.grid(scheme_of(kind, 4, granularity), 3, 1, torch.float32)
    grid.fit(0, values, torch.zeros(1))
    assert grid.nearest(0, values).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_levels_are_those_of_the_widest_table(kind: str) -> None:
    values = weights(ROWS, COLUMNS, "float32")
    values[6, 40] = 4.0
    scheme = scheme_of(kind, 3, "group")
    solved = solve(values, scheme)
    levels = CodebookArithmetic.levels(scheme, solved.stored)
    expected = tables(solved.stored, scheme, "float32")[6, 40]
    assert levels.tolist() == sorted(set(expected.tolist()))


def layer(rows: int, columns: int) -> Layer:
    entry = TensorEntry("block.up.weight", "bfloat16", (rows, columns), "model.safetensors", 0, rows * columns * 2)
    return Layer("block.up", entry, "mlp.up", "linear", 0)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (Codebook(), 4096 * 4096 // 2 + 4096 * 64 * 2),
        (Codebook(kind="kmeans", granularity="channel"), 4096 * 4096 // 2 + 4096 * 16 * 2),
        (Codebook(kind="quantile", bits=3, granularity="tensor"), 4096 * 4096 * 3 // 8 + 8 * 2),
        (Codebook(kind="kmeans", bits=2, group_size=128), 4096 * 4096 // 4 + 4096 * 32 * 4 * 2),
    ],
)
def test_bytes_by_hand(scheme: Codebook, expected: int) -> None:
    assert scheme.bytes_after(layer(4096, 4096)) == expected


def test_tags_differ_where_values_differ() -> None:
    assert Codebook().tag == "nf4 g64"
    assert Codebook(kind="kmeans", granularity="channel").tag == "kmeans4 channel"
    assert Codebook(kind="quantile", bits=3, group_size=128).tag == "quantile3 g128"
    assert Codebook(kind="kmeans", bits=8, granularity="tensor").tag == "kmeans8 tensor"


def test_groups_that_do_not_divide() -> None:
    with pytest.raises(RecipeError, match="group size 64 does not divide the 172 inputs"):
        Codebook().fitted(layer(8, 172))
    fitted, notes = Codebook(indivisible="divisor").fitted(layer(8, 172))
    assert fitted.group_size == 86
    assert notes == ("group size 86 instead of 64, which does not divide 172 inputs",)
    fitted, notes = Codebook(kind="kmeans", indivisible="divisor").fitted(layer(8, 17))
    assert fitted == Codebook(kind="kmeans", granularity="channel")
    assert notes == ("one code book per channel, as the group size 64 does not divide 17 inputs",)


def test_normal_float_of_one_bit_is_refused() -> None:
    with pytest.raises(RecipeError, match="at least 2 bits"):
        replace(Codebook(), bits=1).fitted(layer(8, 64))
