"""The warnings of an export plan: layers written dense, stored in a different form, or without quantised inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchvise.core.recipe.plan_warning import PlanWarning

MAX_NAMED = 5


def written_dense(reasons: Mapping[str, Sequence[tuple[str, str]]]) -> Iterator[PlanWarning]:
    """reasons: (name, tag of the treatment) of the layers that a target cannot hold, by the reason."""
    for reason, layers in reasons.items():
        one = len(layers) == 1
        sentence = (
            f"{_named([f'{name} ({tag})' for name, tag in layers])} {'is' if one else 'are'} written dense, with the "
            f"values computed here, in the original dtype: {reason}"
        )
        yield PlanWarning("dense", sentence, reason, tuple(name for name, _ in layers))


def adapted(layers: Mapping[str, Sequence[str]]) -> Iterator[PlanWarning]:
    """layers: names of the layers that are stored in a different form with the same values, by the form."""
    for what, names in layers.items():
        yield PlanWarning("adapted", f"{len(names)} {what}. First: {_named(names)}", what, tuple(names))


def full_inputs(names: Sequence[str]) -> Iterator[PlanWarning]:
    """names: of layers whose inputs are quantised in the run and are not in what is written."""
    if names:
        reason = "a dense tensor cannot say that its inputs are quantised"
        sentence = (
            f"The inputs of {len(names)} layers are quantised in the run, which a dense tensor cannot say: whoever "
            f"loads it computes with inputs as they are. First: {_named(names)}"
        )
        yield PlanWarning("inputs", sentence, reason, tuple(names))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
