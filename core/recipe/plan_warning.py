"""What will not be done as a recipe says, and to which layers."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.recipe.resolve import UnmatchedPattern


@dataclass(frozen=True)
class PlanWarning:
    """One way in which the plan differs from the recipe; `sentence` says it to people.

    kind:   "fitted" (done a little otherwise), "inputs" (they stay as they are), "skipped", "larger", "unmatched",
            "lost", "dense" (written dense), "adapted" (stored in a different form, with the same values), "everything".
    reason: why, as a phrase; layers: all that it is about, empty for those about none.
    unmatched: the pattern, of the kind "unmatched"; None for a surgery that names nothing.
    regroups: whether a group size was replaced because it does not divide the inputs of the layers.
    """

    kind: str
    sentence: str
    reason: str
    layers: tuple[str, ...] = ()
    unmatched: UnmatchedPattern | None = None
    regroups: bool = False
