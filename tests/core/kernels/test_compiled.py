"""The compiled route gives the bits of the eager one."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.kernels.availability import cxx_compiler
from benchvise.core.kernels.quantise import quantise_pack
from benchvise.core.kernels.routes import COMPILING_PAYS_WEIGHTS, Route, RouteKind, choose_route
from tests.core.kernels.samples import everyday, extremes, ties

pytestmark = pytest.mark.skipif(cxx_compiler() is None, reason="there is no C++ compiler")

EAGER = Route(RouteKind.EAGER_CHUNKED, "asked for by a test")
COMPILED = Route(RouteKind.COMPILED, "asked for by a test")


@pytest.mark.parametrize(
    ("bits", "symmetric", "dtype"),
    [
        (4, True, torch.bfloat16),
        (4, False, torch.bfloat16),
        (8, True, torch.float16),
        (2, False, torch.float32),
        (3, True, torch.bfloat16),
    ],
)
def test_codes_are_those_of_the_eager_route(bits: int, symmetric: bool, dtype: torch.dtype) -> None:
    samples = [everyday(70, 320, dtype), ties(64, bits, dtype).repeat(70, 1), extremes(64, dtype).repeat(20, 1)]
    for weight in samples:
        results = [
            quantise_pack(weight, bits=bits, group_size=32, symmetric=symmetric, scale_dtype=dtype, route=route)
            for route in (EAGER, COMPILED)
        ]
        assert torch.equal(results[0].scale, results[1].scale)
        assert torch.equal(results[0].packed, results[1].packed)
        if not symmetric:
            assert results[0].zero_point is not None
            assert results[1].zero_point is not None
            assert torch.equal(results[0].zero_point, results[1].zero_point)


def test_loading_compiled_code_keeps_small_numbers() -> None:
    weight = everyday(70, 320, torch.bfloat16)
    quantise_pack(weight, bits=4, group_size=32, symmetric=True, scale_dtype=torch.bfloat16, route=COMPILED)
    smallest_normal = torch.tensor([torch.finfo(torch.float32).tiny])
    assert (smallest_normal * 0.5).item() > 0


def test_much_work_is_compiled() -> None:
    route = choose_route(torch.zeros(1, 1), COMPILING_PAYS_WEIGHTS)
    assert route.kind is RouteKind.COMPILED
    assert str(cxx_compiler()) in route.why
