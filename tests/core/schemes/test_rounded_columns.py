"""Rounding and decoding a column in one go gives what doing one after the other gives, bit for bit."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.registry import arithmetic_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "scheme",
    [
        Integer(bits=3, group_size=16),
        Integer(bits=4, group_size=16, symmetric=False),
        Integer(bits=2, group_size=16, symmetric=False, zero_points="float"),
        Integer(bits=8, granularity="channel"),
    ],
)
def test_in_one_go_and_one_after_the_other(scheme: Integer, dtype: torch.dtype) -> None:
    values = torch.randn(24, 64, generator=torch.Generator().manual_seed(0)).to(dtype).float()
    grid = arithmetic_of(scheme).grid(scheme, 24, 64, dtype)
    grid.fit(0, values)
    whole = grid.decode(0, grid.encode(0, values))
    for start, stop in ((0, 64), (5, 6), (16, 48), (10, 40)):
        part = values[:, start:stop]
        codes, decoded = grid.rounded(start, part)
        assert torch.equal(codes, grid.encode(start, part))
        assert torch.equal(decoded, grid.decode(start, codes))
        assert torch.equal(decoded, whole[:, start:stop])
