"""GGUF's block types: the package `gguf` reads from our bytes what we decode, bit by bit; and what the search gains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants
from torch import Tensor

from benchvise.core.methods.gguf import TYPES, Gguf, GgufName
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.gguf.blocks import join, split
from benchvise.core.schemes.registry import arithmetic_of
from tests.core.schemes.scheme_samples import layer_in_file, solve, weights

NESTED: tuple[GgufName, ...] = ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs")


def read_by_gguf(name: GgufName, raw: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    found: np.ndarray = quants.dequantize(raw.numpy(), GGMLQuantizationType[TYPES[name].title])  # type: ignore[type-arg]
    return found


def error(found: Tensor, values: Tensor) -> float:
    return float((found.double() - values.double()).square().sum() / values.double().square().sum())


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_gguf_reads_what_we_decode(name: GgufName, dtype: str, tmp_path: Path) -> None:
    values, scheme = weights(7, 512, dtype), Gguf(type=name)
    layer = layer_in_file(tmp_path, "block.up.weight", values)
    solved = solve(values, scheme, block_rows=3)
    raw = join(name, solved.stored)
    ours = arithmetic_of(scheme).decode(scheme, solved.stored, 0, 7, 512)
    assert ours.dtype == torch.float32
    np.testing.assert_array_equal(read_by_gguf(name, raw), ours.numpy())
    assert torch.equal(ours.to(values.dtype), solved.decoded)
    assert raw.shape == (7, 512 // TYPES[name].weights * TYPES[name].nbytes)
    assert scheme.bytes_after(layer) == raw.numel()


@pytest.mark.parametrize("name", TYPES)
def test_any_bytes_are_read_as_gguf_reads_them(name: GgufName) -> None:
    kind = TYPES[name]
    generator = torch.Generator().manual_seed(3)
    raw = torch.randint(0, 256, (5, 2 * kind.nbytes), generator=generator, dtype=torch.uint8)
    stored = split(name, raw)
    for scale, dtype in kind.scales:  # finite ones
        random = torch.rand(stored[scale].shape, generator=generator) - 0.4
        stored[scale] = random.to(torch.float16) if dtype == "float16" else stored[scale].clone()
    if name in ("f16", "bf16"):
        stored["weight"] = torch.randn(5, 2, generator=generator).to(stored["weight"].dtype)
    if name == "tq2_0":  # three is no code
        stored["weight_packed"] &= 0x55
    joined = join(name, stored)
    again = split(name, joined)
    assert all(torch.equal(again[one].view(torch.uint8), stored[one].view(torch.uint8)) for one in stored)
    scheme = Gguf(type=name)
    ours = arithmetic_of(scheme).decode(scheme, stored, 0, 5, 2 * kind.weights)
    np.testing.assert_array_equal(read_by_gguf(name, joined), ours.numpy())


@pytest.mark.parametrize("name", [name for name in TYPES if name not in ("f16", "bf16")])
def test_neither_blocks_of_rows_nor_threads_change_a_byte(name: GgufName) -> None:
    values, scheme = weights(11, 256, "bfloat16"), Gguf(type=name)
    whole = solve(values, scheme)
    parts = solve(values, scheme, block_rows=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = solve(values, scheme, block_rows=1)
    finally:
        torch.set_num_threads(threads)
    for one in whole.stored:
        expected = whole.stored[one].view(torch.uint8)
        assert torch.equal(expected, parts.stored[one].view(torch.uint8))
        assert torch.equal(expected, alone.stored[one].view(torch.uint8))


@pytest.mark.parametrize("name", TYPES)
def test_columns_one_by_one_are_those_of_the_whole(name: GgufName) -> None:
    values, scheme = weights(6, 256, "float32"), Gguf(type=name)
    grid = arithmetic_of(scheme).grid(scheme, 6, 256, torch.bfloat16)
    grid.fit(0, values)
    codes = grid.encode(0, values)
    decoded = grid.decode(0, codes)
    for start in range(0, 256, grid.step):
        part = slice(start, start + grid.step)
        code = slice(start // grid.step, start // grid.step + 1)
        assert torch.equal(grid.encode(start, values[:, part]), codes[:, code])
        assert torch.equal(grid.decode(start, codes[:, code]), decoded[:, part])
    stored = grid.stored(codes)
    assert torch.equal(arithmetic_of(scheme).decode(scheme, stored, 0, 6, 256).bfloat16().float(), decoded)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("case", ["zeros", "constant", "negative", "one", "huge", "tiny"])
def test_awkward_weights_stay_finite(name: GgufName, case: str) -> None:
    random = torch.randn(3, 256, generator=torch.Generator().manual_seed(1))
    values = {
        "zeros": torch.zeros(3, 256),
        "constant": torch.full((3, 256), 0.37),
        "negative": -random.abs() - 1,
        "one": torch.zeros(3, 256).index_put((torch.tensor([2]), torch.tensor([7])), torch.tensor(3.0)),
        "huge": random.clamp(-1, 1) * 65504,
        "tiny": random * 1e-30,
    }[case]
    values = values.half() if case == "huge" else values
    solved = solve(values, Gguf(type=name), Nearest(clip_search=True))
    assert solved.decoded.isfinite().all()
    if case in ("zeros", "tiny"):
        assert solved.decoded.abs().max() < 1e-6
    elif case != "one":
        assert error(solved.decoded, values) < 0.55


@pytest.mark.parametrize("name", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4", "tq1_0", "tq2_0"])
def test_the_search_errs_less_than_the_package(name: GgufName) -> None:
    values = weights(16, 512, "float32")
    kind = GGMLQuantizationType[TYPES[name].title]
    theirs = torch.from_numpy(quants.dequantize(quants.quantize(values.numpy(), kind), kind))
    assert error(solve(values, Gguf(type=name)).decoded, values) < error(theirs, values)


@pytest.mark.parametrize("name", NESTED)
def test_importance_turns_the_fit_to_columns_that_matter(name: GgufName) -> None:
    values, scheme = weights(16, 256, "float32"), Gguf(type=name)
    importance = torch.rand(256, generator=torch.Generator().manual_seed(4)) ** 4 + 1e-3
    grid = arithmetic_of(scheme).grid(scheme, 16, 256, torch.float32)

    def cost() -> float:
        return float(((grid.nearest(0, values) - values).square() * importance).sum())

    grid.fit(0, values)
    plain = cost()
    grid.fit(0, values, importance)
    assert cost() < 0.95 * plain


@pytest.mark.parametrize("name", NESTED)
def test_a_sub_block_is_fitted_again_under_the_scales_of_its_block(name: GgufName) -> None:
    values, scheme = weights(16, 512, "float32"), Gguf(type=name)
    grid = arithmetic_of(scheme).grid(scheme, 16, 512, torch.float32)
    grid.fit(0, values)
    before = grid.stored(grid.encode(0, values))
    span = slice(grid.span, 2 * grid.span)
    moved = values.clone()
    moved[:, span] *= 0.3
    stiff = error(grid.nearest(span.start, moved[:, span]), moved[:, span])
    grid.fit(span.start, moved[:, span])
    assert error(grid.nearest(span.start, moved[:, span]), moved[:, span]) < stiff
    after = grid.stored(grid.encode(0, moved))
    assert torch.equal(after["weight_scale"], before["weight_scale"])
