"""The warnings of an export plan: layers written dense, stored in a different form, or without quantised inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchvise.core.recipe.plan_warning import PlanWarning


def written_dense(reasons: Mapping[str, Sequence[tuple[str, str]]]) -> Iterator[PlanWarning]:
    """reasons: (name, tag of the treatment) of the layers that a target cannot hold, by the reason."""
    for reason, layers in reasons.items():
        names, tags = tuple(name for name, _ in layers), tuple(tag for _, tag in layers)
        yield PlanWarning("dense", names, cause=reason, treatments=tags)


def adapted(layers: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[PlanWarning]:
    """layers: names of the layers that are stored in a different form with the same values.

    They are listed by the tag of their scheme and the form.
    """
    for (tag, form), names in layers.items():
        yield PlanWarning("adapted", tuple(names), asked=tag, got=form)


def full_inputs(names: Sequence[str]) -> Iterator[PlanWarning]:
    """names: of layers whose inputs are quantised in the run and are not in what is written."""
    if names:
        yield PlanWarning("run inputs", tuple(names))
