"""Which treatments are offered where a person is asked to choose among several."""

from __future__ import annotations

from benchvise.core.export.ladder import ladder_of_kind
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.sparse import Sparse
from benchvise.core.recipe.recipe import Recipe, Treatment


def _group(bits: int, size: int) -> Treatment:
    return Treatment(Integer(bits=bits, group_size=size, indivisible="divisor"))


OFFERED: tuple[Treatment, ...] = (
    Treatment(Integer(bits=8, granularity="channel")),
    Treatment(Integer(bits=4, granularity="channel")),
    _group(4, 128),
    _group(4, 32),
    _group(3, 64),
    _group(2, 32),
    Treatment(Sparse(fraction=0.5)),
)


def ladder(recipe: Recipe) -> tuple[Treatment, ...]:
    """From 2 to 8 bits with the recipe's own solver: what a budget chooses among at first.

    Of GGUF types where the recipe has some, else in groups of 128. A recipe that treats nothing yet, or whose solver
    cannot serve such grids, gets the default solver.
    """
    treatments = [rule.treatment for rule in recipe.rules if not rule.treatment.keeps]
    schemes = [treatment.scheme for treatment in treatments]
    solver = treatments[0].solver if treatments else None
    if solver is not None and any(solver.refusal(rung.scheme) for rung in ladder_of_kind(schemes, solver)):
        solver = None
    return ladder_of_kind(schemes, solver)


def offered(recipe: Recipe, *more: Treatment) -> tuple[Treatment, ...]:
    """The default ones, the ladder with the recipe's solver, those of the recipe, and `more`; each once."""
    own = (rule.treatment for rule in recipe.rules if not rule.treatment.keeps)
    by_key: dict[str, Treatment] = {}
    for treatment in (*OFFERED, *ladder(recipe), *own, *more):
        by_key.setdefault(treatment.key, treatment)
    return tuple(by_key.values())
