"""Everything of a stored matrix under training: it begins where it is stored, and is stored as it computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.gguf import Gguf
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.low_rank import LowRank
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.methods.outliers import Outliers
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.sparse import Sparse
from benchvise.core.schemes.integer_training import quantised
from benchvise.core.schemes.registry import arithmetic_of
from tests.core.schemes.scheme_samples import solve, weights

ROWS, COLUMNS = 6, 256
SPARSE = Sparse(criterion="n_of_m", storage_form="indices")
SCHEMES: list[Scheme] = [
    Integer(bits=2, symmetric=False, group_size=32),
    Integer(bits=3, group_size=64),
    Integer(bits=4, symmetric=False, zero_points="float", granularity="channel"),
    Integer(bits=3, symmetric=False, granularity="block", block_rows=4, group_size=64),
    Integer(bits=4, granularity="tensor"),
    Gguf(type="q2_k"),
    Codebook(bits=4, kind="normal_float", group_size=64),
    Codebook(bits=3, kind="kmeans", granularity="channel"),
    Codebook(bits=2, kind="kmeans", granularity="tensor"),
    Outliers(),
    NonLinear(),
    Floating(),
    Microscaling(),
    NvFloat4(),
    LowRank(share=0.6),
    Sparse(),
    SPARSE,
    Sparse(criterion="n_of_m", storage_form="bitmask", values="integer", bits=3, group_size=64),
]


def same(ours: Tensor, theirs: Tensor) -> bool:
    """Whether all bytes are equal: torch does not compare every 8-bit float."""
    bytes_of = [each.contiguous().view(torch.uint8) if each.dim() else each for each in (ours, theirs)]
    return torch.equal(*bytes_of)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.tag)
def test_begins_as_stored_and_stores_what_it_computes(scheme: Scheme) -> None:
    dense, arithmetic = weights(ROWS, COLUMNS, "bfloat16"), arithmetic_of(scheme)
    solved = solve(dense, scheme)
    trainable = arithmetic.trainable(scheme, solved.stored, dense.float())
    assert trainable is not None
    assert trainable.first.keys() == trainable.unit.keys()
    assert trainable.fine | trainable.loose <= trainable.first.keys()
    near = 1 / 128 if scheme.factored else 0  # products of factors are decoded in float64
    torch.testing.assert_close(trainable.weight(trainable.first).bfloat16(), solved.decoded, rtol=near, atol=0)
    begun = trainable.stored(trainable.first)
    assert begun.keys() == solved.stored.keys()
    assert all(same(begun[name], values) for name, values in solved.stored.items())

    generator = torch.Generator().manual_seed(0)
    moved = {
        name: (first + 0.3 * trainable.unit[name] * torch.randn(first.shape, generator=generator)).requires_grad_()
        for name, first in trainable.first.items()
    }
    weight = trainable.weight(moved)
    gradients = torch.autograd.grad(weight.square().sum(), list(moved.values()))
    assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in gradients)
    with torch.no_grad():
        stored = trainable.stored(moved)
    expected = {name: (values.shape, values.dtype) for name, values in solved.stored.items()}
    assert {name: (values.shape, values.dtype) for name, values in stored.items()} == expected
    decoded = arithmetic.decode(scheme, stored, 0, ROWS, COLUMNS)
    torch.testing.assert_close(decoded.bfloat16(), weight.detach().bfloat16(), rtol=near, atol=0)
    assert not torch.equal(decoded, solved.decoded)


@pytest.mark.parametrize("scheme", [Sparse(), SPARSE, SCHEMES[-1]], ids=lambda scheme: scheme.tag)
def test_zeros_of_a_sparse_layer_stay_where_they_are(scheme: Scheme) -> None:
    dense, arithmetic = weights(ROWS, COLUMNS, "bfloat16"), arithmetic_of(scheme)
    solved = solve(dense, scheme)
    trainable = arithmetic.trainable(scheme, solved.stored, dense.float())
    assert trainable is not None
    moved = {name: first + 0.7 * trainable.unit[name] for name, first in trainable.first.items()}
    zero = solved.decoded == 0 if "weight_codes" not in solved.stored else torch.zeros(ROWS, COLUMNS, dtype=torch.bool)
    places = {name for name in solved.stored if name in ("weight_mask", "weight_indices")}
    after = trainable.stored(moved)
    assert all(torch.equal(after[name], solved.stored[name]) for name in places)
    assert not arithmetic.decode(scheme, after, 0, ROWS, COLUMNS)[zero & (dense != 0)].any()


def lsq(weight: Tensor, scale: Tensor, zero: Tensor, greatest: int, upstream: Tensor) -> tuple[Tensor, ...]:
    """The gradients as the papers print them: LSQ (1902.08153, eq. 3) and LSQ+ (2004.09576, eq. 5 and 6)."""
    at = weight / scale + zero
    low, high = at <= -0.5, at >= greatest + 0.5
    inside = ~(low | high)
    of_scale = torch.where(inside, at.round() - zero - weight / scale, torch.where(low, -zero, greatest - zero))
    of_zero = torch.where(inside, torch.zeros(()), -scale)
    return upstream * inside, (upstream * of_scale).sum(-1, keepdim=True), (upstream * of_zero).sum(-1, keepdim=True)


def test_gradients_are_those_of_learned_step_sizes() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(4, 3, 16, generator=generator, dtype=torch.float64)
    scale = torch.rand(4, 3, 1, generator=generator, dtype=torch.float64) * 0.5 + 0.2
    zero = torch.randint(0, 4, (4, 3, 1), generator=generator).double()
    upstream = torch.randn(4, 3, 16, generator=generator, dtype=torch.float64)
    leaves = [each.clone().requires_grad_() for each in (weight, scale, zero)]
    _, found = quantised(leaves[0], leaves[1], leaves[2], 3)
    gradients = torch.autograd.grad(found, leaves, upstream)
    for ours, theirs in zip(gradients, lsq(weight, scale, zero, 3, upstream), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert ((weight / scale + zero).abs() > 4).any()
