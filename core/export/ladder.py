"""The treatments that a budget is shared out over, when the target is known that the result is for."""

from __future__ import annotations

from collections.abc import Iterable

from benchvise.core.allocate.ladder import bit_ladder
from benchvise.core.export.targets.registry import candidates, target_of, targets
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.recipe.recipe import Treatment


def ladder_for(key: str, solver: Solver | None = None, *, runs: bool = True) -> tuple[Treatment, ...]:
    """The schemes of the target `key`, or of the first that an "auto" key for a runtime asks; else integers in groups.

    solver: None for error feedback, or for rounding with a clip search where the network cannot be run (`runs`).
    Raises OutputError for a key that is no target.
    """
    asked = candidates(key)
    target = asked[0] if asked else target_of(key)
    return _ladder(target.rungs, solver, runs=runs)


def ladder_of_kind(schemes: Iterable[Scheme], solver: Solver | None = None) -> tuple[Treatment, ...]:
    """The schemes of the target that has some of the same kind as `schemes` among its own; else integers in groups."""
    kinds = {type(scheme) for scheme in schemes}
    rungs = next((each.rungs for each in targets() if kinds & {type(rung) for rung in each.rungs}), ())
    return _ladder(rungs, solver, runs=True)


def _ladder(rungs: tuple[Scheme, ...], solver: Solver | None, *, runs: bool) -> tuple[Treatment, ...]:
    if not rungs:
        return bit_ladder(solver, runs=runs)
    chosen = solver or (ErrorFeedback() if runs else Nearest(clip_search=True))
    return tuple(Treatment(rung, chosen) for rung in rungs)
