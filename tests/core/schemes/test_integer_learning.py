"""Integer codes as things to learn: what is computed is what is stored, and gradients pass as they should."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.integer import IntegerArithmetic
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.nearest import nearest_matrix

SCHEMES = [
    Integer(bits=3, symmetric=False, group_size=8),
    Integer(bits=4, symmetric=True, group_size=16),
    Integer(bits=2, symmetric=False, granularity="channel"),
    Integer(bits=8, symmetric=True, granularity="tensor"),
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.tag)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_computed_is_what_is_stored(scheme: Integer, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(6, 32, generator=generator).to(dtype)
    begun = nearest_matrix(weight, scheme, Nearest(), None, NULL_CONTEXT)
    learnable = IntegerArithmetic.learnable(scheme, begun.stored, weight.float())
    nothing = learnable.stored(learnable.offsets, learnable.scales)
    for name, values in begun.stored.items():
        assert torch.equal(nothing[name], values), name
    offsets = torch.rand(learnable.offsets.shape, generator=generator) * 2 - 1
    scales = torch.randn(learnable.scales.shape, generator=generator) / 10
    stored = learnable.stored(offsets, scales)
    decoded = IntegerArithmetic.decode(scheme, stored, 0, 6, 32)
    assert torch.equal(learnable.weight(offsets, scales).to(dtype), decoded)
    assert not torch.equal(stored["weight_packed"], begun.stored["weight_packed"])
    assert {name: value.dtype for name, value in stored.items()} == {n: v.dtype for n, v in begun.stored.items()}


def test_gradients_pass_rounding_but_not_the_ends_of_the_grid() -> None:
    scheme = Integer(bits=2, symmetric=True, granularity="channel")
    weight = torch.tensor([[-1.0, -0.2, 0.3, 1.0]])
    begun = nearest_matrix(weight, scheme, Nearest(), None, NULL_CONTEXT)
    learnable = IntegerArithmetic.learnable(scheme, begun.stored, weight)
    scale = begun.stored["weight_scale"].item()
    offsets = torch.tensor([[0.0, 0.0, 0.0, 5.0]], requires_grad=True)
    scales = learnable.scales.requires_grad_()
    found = learnable.weight(offsets, scales)
    by_offsets, by_scales = torch.autograd.grad(found.sum(), [offsets, scales])
    assert torch.allclose(by_offsets, torch.tensor([[scale, scale, scale, 0.0]]))
    # d/dθ of ŵ·exp(θ) is ŵ itself.
    assert by_scales.item() == pytest.approx(found.sum().item())
