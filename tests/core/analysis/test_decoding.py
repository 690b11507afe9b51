from __future__ import annotations

import numpy as np
import pytest
import torch

from benchvise.core.analysis.decoding import decode, split_finite, value_table
from benchvise.core.errors import CheckpointError

TORCH_8 = {
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
    "float8_e8m0fnu": torch.float8_e8m0fnu,
    "int8": torch.int8,
    "uint8": torch.uint8,
}
TORCH_16 = {"bfloat16": torch.bfloat16, "float16": torch.float16, "int16": torch.int16, "uint16": torch.uint16}


@pytest.mark.parametrize("dtype", [*TORCH_8, *TORCH_16])
def test_every_bit_pattern_means_what_torch_says(dtype: str) -> None:
    if dtype in TORCH_8:
        patterns: np.ndarray = np.arange(256, dtype=np.uint8)
        expected = torch.from_numpy(patterns).view(TORCH_8[dtype]).to(torch.float32)
    else:
        patterns = np.arange(65536).astype(np.uint16)
        expected = torch.from_numpy(patterns).view(TORCH_16[dtype]).to(torch.float32)
    np.testing.assert_array_equal(value_table(dtype), expected.to(torch.float64).numpy())
    decoded = decode(patterns.reshape(2, -1), dtype)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, expected.numpy().reshape(2, -1))


def test_booleans_and_pairs_of_nibbles() -> None:
    np.testing.assert_array_equal(decode(np.array([True, False]), "bool"), [1.0, 0.0])
    steps = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    np.testing.assert_array_equal(value_table("float4_e2m1fn_x2"), [*steps, *(-step for step in steps)])
    np.testing.assert_array_equal(decode(np.array([[0x71, 0xF8]], np.uint8), "float4_e2m1fn_x2"), [[0.5, 6, -0.0, -6]])


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint64"])
def test_wide_types_become_float64(dtype: str) -> None:
    assert decode(np.array([1, 2], dtype), dtype).dtype == np.float64


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "quint4x2"])
def test_what_has_no_order_is_refused_with_a_remedy(dtype: str) -> None:
    with pytest.raises(CheckpointError, match=f"{dtype} cannot be shown") as caught:
        decode(np.zeros(2, np.complex64), dtype)
    assert caught.value.remedy


def test_finite_values_are_kept_and_the_others_counted() -> None:
    finite = split_finite(np.array([1, np.nan, np.inf, -np.inf, np.inf, -2], np.float32))
    np.testing.assert_array_equal(finite.values, [1, -2])
    assert (finite.nan, finite.pos_inf, finite.neg_inf) == (1, 2, 1)
    whole = np.array([3.0, 4.0])
    assert split_finite(whole).values is whole
