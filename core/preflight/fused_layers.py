"""Layers that a runtime computes in one piece, and so needs the same treatment for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.export_plan import ExportPlan, is_expert_matrix
from benchvise.core.export.layouts.packed_layout import NVFP4, PackedLayout
from benchvise.core.language import capital, message
from benchvise.core.preflight import changes
from benchvise.core.preflight.export_targets import other_targets
from benchvise.core.preflight.runtimes import Fused, Runtime
from benchvise.core.preflight.wording import layers
from benchvise.core.protocol.results import Finding, Fix
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.recipe import KEEP, Treatment


def fused_layer_findings(plan: Plan, runtime: Runtime, export: ExportPlan) -> Iterator[Finding]:
    """Fused layers and experts of which some are treated differently from the rest."""
    layouts = {layer.name: layout for layer, layout in export.packed()}
    for fused in runtime.fused:
        groups = _members(plan, fused)
        odd = [group for group in groups if len({layouts.get(layer.name) for layer in group}) > 1]
        if odd:
            yield _unlike(plan, runtime, fused, odd, other_targets(export))
        shared = [group for group in groups if group not in odd and _is_nvfp4(layouts.get(group[0].name))]
        if shared and runtime.shared_scale:
            yield _scales(plan, runtime, fused, shared)
    if runtime.experts:
        yield from _experts(plan, runtime, layouts)


def _members(plan: Plan, fused: Fused) -> list[list[Layer]]:
    groups: dict[str, list[Layer]] = {}
    for layer in plan.checkpoint.layers:
        if layer.role in fused.roles and layer.kind == "linear":
            groups.setdefault(layer.name.rpartition(".")[0], []).append(layer)
    return [group for group in groups.values() if len(group) > 1]


def _unlike(plan: Plan, runtime: Runtime, fused: Fused, odd: list[list[Layer]], others: Sequence[Fix]) -> Finding:
    names = tuple(layer.name for group in odd for layer in group)
    treatments = {row.layer.name: row.treatment for row in plan.rows()}
    most = {layer.name: _most([treatments[each.name] for each in group], layer) for group in odd for layer in group}
    least = dict.fromkeys(names, KEEP)
    many = "" if len(odd) == 1 else message(" in {count} places", count=len(odd))
    return Finding(
        "fused",
        "blocks",
        message(
            "{members} do not have the same treatment{many}",
            members=capital(fused.title),
            many=many,
        ),
        message(
            "{title} computes them in one piece and does not load them when their formats differ. Source: {source}.",
            title=runtime.title,
            source=runtime.source,
        ),
        names,
        (
            Fix(
                message("Give {title} the same treatment (the most bits of them)", title=fused.title),
                changes.with_treatments(plan, most),
            ),
            Fix(message("Keep these {layers}", layers=layers(names)), changes.with_treatments(plan, least)),
            *others,
        ),
    )


def _most(treatments: Sequence[Treatment], layer: Layer) -> Treatment:
    """The treatment of most bytes for a layer."""
    return max(treatments, key=lambda treatment: treatment.bytes_after(layer))


def _scales(plan: Plan, runtime: Runtime, fused: Fused, groups: list[list[Layer]]) -> Finding:
    names = tuple(layer.name for group in groups for layer in group)
    return Finding(
        "shared scale",
        "warns",
        message("{members} have global scales of their own", members=capital(fused.title)),
        message(
            "{title} takes the greatest of the NVFP4 global scales of what it computes in one piece, "
            "which moves the values of the others. Source: vLLM, compressed_tensors_w4a4_nvfp4.py.",
            title=runtime.title,
        ),
        names,
        (
            Fix(
                message("Use symmetric 4-bit integers in groups of 128"),
                changes.changed(plan, names, changes.integers(4, 128)),
            ),
            Fix(message("Keep these {layers}", layers=layers(names)), changes.keeping(plan, names)),
        ),
    )


def _is_nvfp4(layout: PackedLayout | None) -> bool:
    return layout is not None and layout.format == NVFP4


def _experts(plan: Plan, runtime: Runtime, layouts: dict[str, PackedLayout]) -> Iterator[Finding]:
    experts = [layer for layer in plan.checkpoint.layers if is_expert_matrix(layer)]
    if len({layouts.get(layer.name) for layer in experts}) < 2:
        return
    names = tuple(layer.name for layer in experts)
    treatments = {row.layer.name: row.treatment for row in plan.rows()}
    most = {layer.name: _most([treatments[each] for each in names], layer) for layer in experts}
    yield Finding(
        "experts",
        "blocks",
        message("Experts do not have the same treatment"),
        message(
            "{title} stacks the experts of a block and takes one format for all. Source: vLLM, "
            "compressed_tensors_moe.py; transformers.",
            title=runtime.title,
        ),
        names,
        (
            Fix(
                message("Give all experts the same treatment (the most bits of them)"),
                changes.with_treatments(plan, most),
            ),
            Fix(message("Keep these {layers}", layers=layers(names)), changes.keeping(plan, names)),
        ),
    )
