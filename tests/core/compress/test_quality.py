"""Signal and noise against numpy over everything at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchvise.core.compress.quality import Quality


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 3), (7, 11), (40, 5000), (1, 200_001)])
def test_sums(dtype: torch.dtype, shape: tuple[int, int]) -> None:
    before = torch.randn(shape, dtype=torch.float64).to(dtype)
    after = (before.double() * 8).round().div(8).to(dtype)
    quality = Quality()
    for first in range(0, shape[0], 16):
        quality.add(before[first : first + 16], after[first : first + 16])
    exact, error = before.double().numpy(), after.double().numpy() - before.double().numpy()
    assert quality.signal == pytest.approx((exact**2).sum(), rel=1e-12)
    assert quality.noise == pytest.approx((error**2).sum(), rel=1e-12)
    assert quality.max_error == np.abs(error).max()
    assert quality.zeros == (after == 0).sum()
    assert quality.sqnr_db == pytest.approx(10 * np.log10((exact**2).sum() / (error**2).sum()), rel=1e-12)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_tiny_and_huge_weights_have_a_ratio_too(size: float) -> None:
    quality = Quality()
    quality.add(torch.full((4, 4), size), torch.full((4, 4), size * 1.125))
    assert quality.sqnr_db == pytest.approx(10 * np.log10(1 / 0.125**2), rel=1e-5)


def test_no_error_and_no_signal_have_no_ratio() -> None:
    exact, nothing, empty = Quality(), Quality(), Quality()
    exact.add(torch.ones(2, 2), torch.ones(2, 2))
    nothing.add(torch.zeros(2, 2), torch.ones(2, 2))
    empty.add(torch.zeros(0, 4), torch.zeros(0, 4))
    assert exact.sqnr_db is nothing.sqnr_db is empty.sqnr_db is None
    assert (exact.zeros, nothing.max_error, empty.max_error) == (0, 1.0, 0.0)
