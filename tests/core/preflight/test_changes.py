"""What fixes make of treatments, for every scheme."""

from __future__ import annotations

import dataclasses

import pytest

from benchvise.core.methods.registry import SCHEMES
from benchvise.core.methods.scheme import Scheme
from benchvise.core.preflight.changes import to_divisors
from benchvise.core.recipe.recipe import Treatment

NEEDED = {"sparse": {"storage_form": "bitmask", "values": "integer"}, "low_rank": {"residual": "integer"}}
"""Settings without which a scheme has no groups."""


@pytest.mark.parametrize("kind", SCHEMES.values(), ids=lambda kind: kind.key)
def test_schemes_that_can_fall_back_instead_of_refusing_do(kind: type[Scheme]) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    assert bool(kind.fallback) == ("indivisible" in names)
    settings = {"indivisible": "refuse", **NEEDED.get(kind.key, {})} if kind.fallback else {}
    treatment = Treatment(scheme=kind(**settings))
    assert getattr(to_divisors(treatment).scheme, "indivisible", "") == kind.fallback
