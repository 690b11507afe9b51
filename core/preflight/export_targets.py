"""What a check asks of the export targets: who loads what they write, and which others there are."""

from __future__ import annotations

from collections.abc import Iterator

from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.target import Target
from benchvise.core.export.targets.registry import target_of, targets
from benchvise.core.language import message
from benchvise.core.preflight.facts import Facts
from benchvise.core.preflight.runtimes import Runtime
from benchvise.core.protocol.results import Finding, Fix


def loads(runtime: Runtime, export: ExportPlan) -> bool:
    """Whether the runtime loads what the export writes without a conversion."""
    return runtime.key in target_of(export.target).runtimes


def loaded_targets(runtime: Runtime) -> tuple[Target, ...]:
    """The targets whose results the runtime loads without a conversion."""
    return tuple(target for target in targets() if runtime.key in target.runtimes)


def other_targets(export: ExportPlan) -> tuple[Fix, ...]:
    """A change to every other target; the check keeps those that solve its problem."""
    return tuple(Fix(target.action, target=target.key) for target in targets() if target.key != export.target)


def same_target(export: ExportPlan) -> Fix:
    """The target that "auto" has found, chosen by name."""
    target = target_of(export.target)
    return Fix(target.action, target=target.key)


def target_findings(export: ExportPlan) -> Iterator[Finding]:
    """Whether the target can be written on this machine, and whether it can hold the result."""
    target = target_of(export.target)
    if target.problem:
        detail = message("Install '{package}', or choose another target.", package=target.package)
        yield Finding("package", "blocks", target.problem, detail, fixes=other_targets(export))
    if export.refusal:
        title = message("The result cannot be exported as {title}", title=target.title)
        yield Finding("refused", "blocks", title, f"{export.refusal}.", fixes=other_targets(export))


def trial_findings(export: ExportPlan, facts: Facts) -> Iterator[Finding]:
    """Whether the runtime's loader was given the export and took it; when it did not, the target refuses."""
    if facts.tried.get(export.target) == "":
        detail = message(
            "It was given names, dtypes and shapes of {count} tensors, without values.", count=len(export.tensors())
        )
        yield Finding("tried", "fine", message("Its loader takes the export"), detail)
