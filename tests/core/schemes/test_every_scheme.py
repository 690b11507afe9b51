"""What holds for every scheme that is registered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchvise.core.methods.integer import Integer
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.registry import SCHEMES, SOLVERS
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.sparse import Sparse
from benchvise.core.schemes.registry import ARITHMETIC, arithmetic_of
from benchvise.core.solvers.registry import FUNCTIONS
from tests.core.schemes.scheme_samples import InMemory, layer_in_file, solve, weights

TREATING = [scheme for scheme in SCHEMES.values() if scheme is not Keep]


def test_every_scheme_and_solver_can_be_computed() -> None:
    assert set(ARITHMETIC) == set(TREATING)
    assert set(FUNCTIONS) == set(SOLVERS.values())
    for kind, functions in FUNCTIONS.items():
        assert (functions.block is not None) == (kind().needs(Integer()) == "block")
        assert (functions.matrix is not None) == (kind().needs(Integer()) != "block")


@pytest.mark.parametrize("kind", TREATING, ids=lambda kind: kind.key)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_defaults_solve_store_and_decode(kind: type[Scheme], dtype: str, tmp_path: Path) -> None:
    values = weights(10, 256, dtype)
    layer = layer_in_file(tmp_path, "block.up.weight", values)
    scheme = kind().fitted(layer)[0]
    solved = solve(values, scheme, block_rows=3)
    stored = {tensor.name: (getattr(torch, tensor.dtype), tensor.shape) for tensor in scheme.storage(layer)}
    assert stored == {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in solved.stored.items()}
    decoded = arithmetic_of(scheme).decode(scheme, solved.stored, 0, 10, 256)
    assert torch.equal(decoded.to(values.dtype), solved.decoded)
    assert (solved.decoded - values).abs().max() < values.abs().max()


@pytest.mark.parametrize("kind", TREATING, ids=lambda kind: kind.key)
def test_only_shared_schemes_share(kind: type[Scheme]) -> None:
    scheme, matrix = kind(), InMemory(weights(3, 4, "float32"))
    if kind is Sparse:
        assert len(ARITHMETIC[kind].share(scheme, [matrix])) == 1
        return
    with pytest.raises(TypeError, match="nothing to share"):
        ARITHMETIC[kind].share(scheme, [matrix])
