"""What is learned of GGUF's block types: it begins where the codes are, and is stored as it was computed."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.methods.gguf import TYPES, Gguf, GgufName
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.adam import Adam
from tests.core.schemes.scheme_samples import solve, weights


@pytest.mark.parametrize("name", TYPES)
def test_it_begins_at_the_codes_and_stores_what_it_computes(name: GgufName) -> None:
    values, scheme = weights(4, 512, "float32"), Gguf(type=name)
    solved = solve(values, scheme)
    arithmetic = arithmetic_of(scheme)
    learnable = arithmetic.learnable(scheme, solved.stored, values)
    assert learnable is not None
    offsets, scales = learnable.offsets.requires_grad_(), learnable.scales.requires_grad_()
    begun = learnable.weight(offsets, scales)
    assert torch.equal(begun, arithmetic.decode(scheme, solved.stored, 0, 4, 512))
    slopes = torch.autograd.grad((begun - values).square().sum(), [offsets, scales])
    assert slopes[0].abs().sum() > 0
    assert all(slope.isfinite().all() for slope in slopes)
    generator = torch.Generator().manual_seed(0)
    offsets = torch.rand(offsets.shape, generator=generator) - 0.5
    scales = 0.2 * torch.rand(scales.shape, generator=generator) - 0.1
    moved = learnable.weight(offsets, scales)
    stored = learnable.stored(offsets, scales)
    assert not torch.equal(moved, begun)
    assert {one: (part.dtype, part.shape) for one, part in stored.items()} == {
        one: (part.dtype, part.shape) for one, part in solved.stored.items()
    }
    torch.testing.assert_close(arithmetic.decode(scheme, stored, 0, 4, 512), moved, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["q2_k", "q3_k", "q4_k", "iq4_xs", "iq3_xxs", "iq2_xs"])
def test_gradients_find_what_serves_an_output_better(name: GgufName) -> None:
    generator = torch.Generator().manual_seed(2)
    values, scheme = weights(8, 256, "float32"), Gguf(type=name)
    inputs = torch.randn(200, 24, generator=generator) @ torch.randn(24, 256, generator=generator)
    learnable = arithmetic_of(scheme).learnable(scheme, solve(values, scheme).stored, values)
    assert learnable is not None
    offsets, scales = learnable.offsets.requires_grad_(), learnable.scales.requires_grad_()

    def loss() -> torch.Tensor:
        return ((learnable.weight(offsets, scales) - values) @ inputs.T).square().mean()

    step = Adam([offsets, scales])
    before = least = float(loss().detach())
    for number in range(60):
        directions = step(torch.autograd.grad(loss(), [offsets, scales]))
        with torch.no_grad():
            offsets.sub_(directions[0], alpha=0.04 * (1 - number / 60)).clamp_(-0.5, 0.5)
            scales.sub_(directions[1], alpha=0.004 * (1 - number / 60))
        least = min(least, float(loss().detach()))
    assert least < 0.7 * before
