"""Runtimes whose files Benchvise does not write: what they could hold, and how a dense export gets there."""

from __future__ import annotations

from collections.abc import Iterator

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.choose_target import is_dense_folder
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.language import message
from benchvise.core.methods.scheme import Elements, Scheme
from benchvise.core.preflight.export_targets import loaded_targets, other_targets
from benchvise.core.preflight.runtimes import Held, Runtime
from benchvise.core.preflight.wording import layers
from benchvise.core.protocol.results import Finding
from benchvise.core.recipe.plan import Plan


def converter_findings(plan: Plan, export_plan: ExportPlan, runtime: Runtime) -> Iterator[Finding]:
    """Whether there is a way to `runtime`, and the nearest of its types for each treatment."""
    written = loaded_targets(runtime)
    if written:
        named = message(" or ").join(target.title for target in written)
        yield Finding(
            "format",
            "blocks",
            message(
                "{title} does not load what is written as {target}", title=runtime.title, target=export_plan.target
            ),
            message("It loads {named}. Source: {source}.", named=named, source=runtime.source),
            fixes=other_targets(export_plan),
        )
        return
    if is_dense_folder(export_plan):
        yield Finding(
            "convert",
            "warns",
            message("{title} loads the dense export only once it is converted", title=runtime.title),
            message(
                "{converter}. Its quantiser rounds the values anew, so what was measured here holds no "
                "longer; converted at full precision it keeps them, and its size. {faster}.",
                converter=runtime.converter,
                faster=runtime.faster,
            ),
        )
    else:
        yield Finding(
            "format",
            "blocks",
            message("Benchvise cannot write {title}'s files", title=runtime.title),
            message(
                "{title} does not load what is written as {target}. {converter}.",
                title=runtime.title,
                target=export_plan.target,
                converter=runtime.converter,
            ),
            fixes=other_targets(export_plan),
        )
    found: dict[tuple[str, Held | None], list[Layer]] = {}
    for row in plan.treated_rows:
        scheme = row.treatment.scheme
        found.setdefault((scheme.tag, nearest_held(runtime, scheme, row.layer)), []).append(row.layer)
    for (tag, nearest), members in found.items():
        yield _held(runtime, tag, nearest, members)


def nearest_held(runtime: Runtime, scheme: Scheme, layer: Layer) -> Held | None:
    """The smallest type that has at least the scheme's bits, of its kind; None where there is none."""
    elements = scheme.elements
    kind = _held_kind(elements)
    fits = [
        held
        for held in runtime.held
        if held.kind == kind and held.bits >= elements.bits and layer.matrix_shape[1] % held.columns == 0
    ]

    def distance(held: Held) -> tuple[int, bool, bool, float]:
        other_block = bool(elements.block) and held.group != elements.block
        return held.bits, held.symmetric != elements.symmetric, other_block, held.bits_per_weight

    return min(fits, key=distance, default=None)


def _held_kind(elements: Elements) -> str:
    """The kind of `Held` that is nearest: no such file has 8-bit floats, so that 8-bit integers stand for them."""
    return "int" if (elements.kind, elements.bits) == ("float", 8) else elements.kind


def _held(runtime: Runtime, tag: str, nearest: Held | None, members: list[Layer]) -> Finding:
    names = tuple(layer.name for layer in members)
    if nearest is None:
        title = message(
            "{layers}, {tag}: no type of {title} is near", layers=layers(names), tag=tag, title=runtime.title
        )
        detail = message("Converted, these layers become what its own quantiser makes of their values.")
    else:
        size = (
            message(" ({bits_per_weight:g} bits per weight)", bits_per_weight=nearest.bits_per_weight)
            if nearest.bits_per_weight
            else ""
        )
        title = message(
            "{layers}, {tag}: nearest is {name}{size}", layers=layers(names), tag=tag, name=nearest.name, size=size
        )
        detail = message("The type is named by bits and zero points; its groups and scales are its own.")
    return Finding(
        "nearest", "tells", title, message("{detail} Source: {source}.", detail=detail, source=runtime.source), names
    )
