"""Packing against Python's big integers, and against the library that loads what is packed."""

from __future__ import annotations

import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchvise.core.kernels.packing import pack_rows, unpack_rows, words_per_row
from tests.core.kernels import reference


def random_codes(rows: int, cols: int, bits: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 2**bits, (rows, cols), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=150, deadline=None)
@given(bits=st.integers(1, 8), rows=st.integers(0, 5), cols=st.integers(0, 130), seed=st.integers(0, 2**16))
@example(bits=8, rows=3, cols=37, seed=0)
@example(bits=2, rows=0, cols=1, seed=0)
def test_packed_as_the_reference_and_unpacked_again(bits: int, rows: int, cols: int, seed: int) -> None:
    codes = random_codes(rows, cols, bits, seed)
    packed = pack_rows(codes, bits)
    assert packed.dtype == torch.int32
    assert packed.shape == (rows, words_per_row(cols, bits))
    assert torch.equal(packed, reference.pack(codes, bits))
    assert torch.equal(unpack_rows(packed, bits, cols), codes)
    assert torch.equal(reference.unpack(packed, bits, cols), codes)


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_that_are_not_contiguous(bits: int) -> None:
    codes = random_codes(64, 48, bits).T[1::2]
    assert torch.equal(pack_rows(codes, bits), reference.pack(codes, bits))


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_single_word_of_a_transposed_matrix(bits: int) -> None:
    packed = torch.randint(-(2**31), 2**31, (1, 5), dtype=torch.int64).to(torch.int32).T
    assert torch.equal(unpack_rows(packed, bits, 32 // bits), reference.unpack(packed, bits, 32 // bits))


def test_unpacked_codes_have_memory_of_their_own() -> None:
    packed = torch.zeros((2, 1), dtype=torch.int32)
    unpack_rows(packed, 8, 4).fill_(7)
    assert not packed.any()


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("cols", [32, 64, 100, 31])
def test_the_loading_library_agrees(bits: int, cols: int) -> None:
    codes = random_codes(3, cols, bits)
    signed = (codes.to(torch.int16) - (1 << (bits - 1))).to(torch.int8)
    packed = pack_rows(codes, bits)
    assert torch.equal(packed, pack_to_int32(signed, bits))
    assert torch.equal(unpack_from_int32(packed, bits, torch.Size((3, cols))), signed)


@pytest.mark.parametrize("bits", [0, 9])
def test_other_numbers_of_bits_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        pack_rows(random_codes(1, 8, 4), bits)


def test_words_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="take 2 words"):
        unpack_rows(torch.zeros((1, 3), dtype=torch.int32), 4, 16)
    with pytest.raises(ValueError, match="int32"):
        unpack_rows(torch.zeros((1, 2)), 4, 16)
