"""What will not be done as a recipe says, and to which layers: facts, of which `core.wording` makes sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

WarningKind = Literal[
    "fitted", "inputs", "skipped", "larger", "again", "shared out", "over budget", "unmatched", "turned", "idle",
    "lost", "dense", "adapted", "run inputs", "left out", "tokenizer", "everything", "sentence",
]  # fmt: skip


@dataclass(frozen=True)
class PlanWarning:
    """One way in which the plan, or what is exported, differs from the recipe.

    kind:
        "fitted"      the scheme is fitted to the layers; got: how, in the method's own words; cause: "groups" when
                      the group size was replaced because it does not divide the inputs, else "".
        "inputs"      inputs are not quantised; cause: an `InputObstacle`.
        "skipped"     layers that are no floating-point matrices are kept.
        "larger"      the layers need more bytes than before; asked: the tag of the treatment.
        "shared out"  the run shares the planned bytes out over the layers, each of which is shown with an even share;
                      cause: "bits" where it finds their bits, "" where it finds their ranks.
        "over budget" even the fewest bytes are more than the rule's budget; asked: the budget, got: the least, in bits
                      per weight.
        "again"       layers that are stored compressed are compressed anew; asked: the scheme that they have.
        "unmatched"   a pattern matches no layer; rule: index of its rule; cause: "target" or "ignore"; asked: the
                      pattern; got: the nearest pattern that matches, "" when none is near.
        "turned"      the network has no linear layers, and a rule for them is taken for its convolutions.
        "idle"        a step finds nothing that it is for; cause: "surgery" or "tuning"; asked: its title.
        "lost"        there is no architecture to run; cause: "calibration", "transform" or "tuning"; asked: the title
                      of the transform or step.
        "dense"       layers are written dense; treatments: the tag of each; cause: why, in the target's own words.
        "adapted"     layers are stored in a different form with the same values; asked: the tag of the scheme; got: the
                      form, in the target's own words.
        "run inputs"  inputs are quantised in the run, and what is written cannot say so.
        "left out"    tensors of the checkpoint are not written; cause: why, in the target's own words.
        "tokenizer"   the result reads text in another way, or not at all; got: how, in the target's own words.
        "everything"  every layer is written dense; cause: why another target refused, in its own words.
        "sentence"    got: a warning that an earlier version kept as text.
    layers: all that the warning is about, empty for those about none.
    """

    kind: WarningKind
    layers: tuple[str, ...] = ()
    rule: int | None = None
    cause: str = ""
    asked: str = ""
    got: str = ""
    treatments: tuple[str, ...] = ()


def parse_plan_warning(value: object) -> PlanWarning:
    """The warning that a JSON file holds: an object, or the sentence that earlier versions wrote.

    Raises TypeError and ValueError for anything else.
    """
    if isinstance(value, str):
        return PlanWarning("sentence", got=value)
    if not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} is no warning")
    if value.get("kind") not in get_args(WarningKind):
        raise ValueError(f"There is no warning of the kind {value.get('kind')!r}")
    lists = {key: tuple(value.get(key, ())) for key in ("layers", "treatments")}
    return PlanWarning(**{**value, **lists})
