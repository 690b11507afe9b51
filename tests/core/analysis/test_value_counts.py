from __future__ import annotations

import numpy as np
import pytest

from benchvise.core.analysis.source import ArraySource
from benchvise.core.analysis.value_counts import pattern_counts_of
from tests.core.analysis.tensor_samples import SILENT, sample

NARROW = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "int8", "uint8", "int16", "uint16", "bool")


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("shape", [(37, 53), (4099,), (), (0, 8), (3, 5, 7)])
def test_counts_agree_with_sorting(dtype: str, shape: tuple[int, ...]) -> None:
    tensor = sample(dtype, shape, spoiled=True)
    counts = pattern_counts_of(tensor.source, progress=SILENT)
    values, occurrences = np.unique(tensor.finite + 0.0, return_counts=True)
    np.testing.assert_array_equal(counts.values, values)
    np.testing.assert_array_equal(counts.counts, occurrences)
    assert counts.nan == np.isnan(tensor.values).sum()
    assert counts.pos_inf == np.isposinf(tensor.values).sum()
    assert counts.neg_inf == np.isneginf(tensor.values).sum()
    assert counts.total == tensor.values.size
    assert counts.finite == tensor.finite.size


def test_both_zeros_are_one_value() -> None:
    source = ArraySource(np.array([0x8000, 0x0000, 0x3F80], np.uint16), "bfloat16")
    counts = pattern_counts_of(source, progress=SILENT)
    np.testing.assert_array_equal(counts.values, [0, 1])
    np.testing.assert_array_equal(counts.counts, [2, 1])
    assert not np.signbit(counts.values[0])


def test_pairs_of_nibbles_count_twice_per_byte() -> None:
    source = ArraySource(np.array([0x71, 0x11], np.uint8), "float4_e2m1fn_x2")
    counts = pattern_counts_of(source, progress=SILENT)
    np.testing.assert_array_equal(counts.values, [0.5, 6])
    np.testing.assert_array_equal(counts.counts, [3, 1])


def test_blocks_and_threads_change_nothing() -> None:
    patterns = np.random.default_rng(1).integers(0, 65536, (2600, 4001), np.uint16)
    expected = np.bincount(patterns.reshape(-1), minlength=65536)
    one, two = (pattern_counts_of(ArraySource(patterns), progress=SILENT, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one.counts, expected[expected > 0])
    np.testing.assert_array_equal(two.counts, one.counts)


def test_wide_types_are_not_counted() -> None:
    with pytest.raises(ValueError, match="float32"):
        pattern_counts_of(ArraySource(np.zeros(3, np.float32)), progress=SILENT)
