"""Which treatments are offered where a person is asked to choose among several."""

from __future__ import annotations

from core.methods.integer import Integer
from core.methods.solver import Nearest, Solver
from core.methods.sparse import Sparse
from core.recipe.recipe import Recipe, Treatment

BITS = (2, 3, 4, 5, 6, 8)
GROUP = 128


def _group(bits: int, size: int, solver: Solver | None = None) -> Treatment:
    return Treatment(Integer(bits=bits, group_size=size, indivisible="divisor"), solver or Nearest())


OFFERED: tuple[Treatment, ...] = (
    Treatment(Integer(bits=8, granularity="channel")),
    Treatment(Integer(bits=4, granularity="channel")),
    _group(4, 128),
    _group(4, 32),
    _group(3, 64),
    _group(2, 32),
    Treatment(Sparse(fraction=0.5)),
)


def solver_of(recipe: Recipe) -> Solver:
    """The solver that the recipe uses first; rounding to nearest where it treats nothing."""
    return next((rule.treatment.solver for rule in recipe.rules if not rule.treatment.keeps), Nearest())


def ladder(recipe: Recipe) -> tuple[Treatment, ...]:
    """From 2 to 8 bits in groups of 128 with the recipe's own solver: what a budget chooses among at first."""
    solver = solver_of(recipe)
    rungs = [_group(bits, GROUP, solver) for bits in BITS]
    return tuple(
        _group(bits, GROUP) if solver.refusal(rung.scheme) else rung for bits, rung in zip(BITS, rungs, strict=True)
    )


def offered(recipe: Recipe, *more: Treatment) -> tuple[Treatment, ...]:
    """The usual ones, the ladder with the recipe's solver, those of the recipe, and `more`; each once."""
    own = (rule.treatment for rule in recipe.rules if not rule.treatment.keeps)
    by_tag: dict[str, Treatment] = {}
    for treatment in (*OFFERED, *ladder(recipe), *own, *more):
        by_tag.setdefault(treatment.tag, treatment)
    return tuple(by_tag.values())
