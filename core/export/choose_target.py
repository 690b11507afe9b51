"""The plan of an export to a named target, or to the one that "auto" finds by asking all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from types import MappingProxyType

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import OutputError
from benchvise.core.export.export_plan import ExportPlan, TreatmentOf
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.target import Target
from benchvise.core.export.targets.registry import AUTO, auto_for, candidates, target_of, targets
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import KEEP


def key_for(key: str, out: str, runtime: str = "") -> str:
    """The target to export to: `key`, but for "auto" the one whose files end as `out` does, if there is one.

    runtime: for which "auto" is to choose, "" for any. Raises OutputError for a key that is no target.
    """
    if candidates(key) and key != AUTO:
        return key
    if key != AUTO:
        return target_of(key).key
    if runtime:
        return auto_for(runtime)
    suffix = PurePath(out).suffix.lower()
    return next((target.key for target in targets() if suffix and target.suffix == suffix), AUTO)


def plan_export(
    plan: Plan, key: str, modules: NetworkModules | None = None, tried: Mapping[str, str] = MappingProxyType({})
) -> ExportPlan:
    """What an export of the finished plan to the target `key` will write; as `choose_plan`."""
    treatments = {row.layer.name: row.treatment for row in plan.treated_rows}
    return choose_plan(key, plan.checkpoint, lambda layer: treatments.get(layer.name, KEEP), modules, tried)


def choose_plan(
    key: str,
    checkpoint: Checkpoint,
    treatment_of: TreatmentOf,
    modules: NetworkModules | None = None,
    tried: Mapping[str, str] = MappingProxyType({}),
) -> ExportPlan:
    """The export plan of the target `key`; for an "auto" key that of the most preferred target that does not refuse.

    modules: what the network's loader makes of the layers, None where that is not known. tried: why runtimes do not
    load what targets would write, by the target's key, "" where they do. Raises OutputError for a key that is no
    target; whether the target can hold the layers, `refusal` says.
    """

    def planned(target: Target) -> ExportPlan:
        found = target.plan(checkpoint, treatment_of, modules)
        return replace(found, refusal=found.refusal or tried.get(target.key, ""))

    preferred = candidates(key)
    if not preferred:
        return planned(target_of(key))
    refused: list[str] = []
    for target in preferred:
        found = planned(target)
        if not found.refusal:
            return _with_refusals(found, refused, treatment_of)
        refused.append(found.refusal)
    return found


def accepted(plan: ExportPlan) -> ExportPlan:
    """The plan itself. Raises OutputError when the target cannot hold it, or cannot be written on this machine."""
    if plan.refusal:
        others = " or ".join(f"'{target.key}'" for target in targets() if target.key != plan.target)
        remedy = f"Export to the target {others} instead."
        raise OutputError(plan.refusal, where=plan.checkpoint.path, remedy=remedy)
    target = target_of(plan.target)
    if target.problem:
        raise OutputError(target.problem, remedy=f"Install '{target.package}', or choose another target.")
    return plan


def is_dense_folder(plan: ExportPlan) -> bool:
    """Whether the result is a folder of dense layers that loads, and converts, as the original does."""
    return target_of(plan.target).as_original and not plan.packed()


def _with_refusals(found: ExportPlan, refused: list[str], treatment_of: TreatmentOf) -> ExportPlan:
    """The plan with a warning where everything is written dense because other targets refused, and bytes are lost."""
    layers = found.checkpoint.layers
    shrinks = any(treatment_of(layer).bytes_after(layer) < layer.nbytes for layer in layers)
    if not refused or found.packed() or not shrinks:
        return found
    return replace(found, plan_warnings=(PlanWarning("everything", cause=refused[0]), *found.plan_warnings))
