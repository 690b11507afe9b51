"""What will not be done as a recipe says, and to which layers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlanWarning:
    """One departure, told in the warning `sentence`.

    kind:   "fitted" (done a little otherwise), "inputs" (they stay as they are), "skipped", "larger", "unmatched",
            "lost", "dense" (written dense), "adapted" (written otherwise, with the same values), "everything".
    reason: why, as a phrase; layers: all that it is about, empty for those about none.
    """

    kind: str
    sentence: str
    reason: str
    layers: tuple[str, ...] = ()
