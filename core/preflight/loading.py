"""Whether a runtime loads what an export will write, and what would have to be otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.language import capital, message
from benchvise.core.preflight import changes
from benchvise.core.preflight.export_targets import loaded_targets, loads, other_targets
from benchvise.core.preflight.fused_layers import fused_layer_findings
from benchvise.core.preflight.runtime_match import Match, match
from benchvise.core.preflight.runtimes import LoadedForm, Runtime
from benchvise.core.preflight.wording import are, layers, these
from benchvise.core.protocol.results import Finding, Fix
from benchvise.core.recipe.plan import Plan


@dataclass(frozen=True)
class _Group:
    """Layers that meet the same."""

    match: Match
    layers: list[Layer]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.layers)

    @property
    def form(self) -> LoadedForm:
        return self.match.form


def loading_findings(plan: Plan, export_plan: ExportPlan, runtime: Runtime) -> Iterator[Finding]:
    """What hinders `runtime` from loading the export, and what it takes."""
    if not loads(runtime, export_plan):
        yield _other_format(export_plan, runtime)
        return
    packed = export_plan.packed()
    others = other_targets(export_plan)
    found = [(layer, match(runtime, layout, layer)) for layer, layout in packed]
    refused = _grouped((layer, each) for layer, each in found if each.hinders)
    loaded = [(layer, each) for layer, each in found if not each.hinders]
    for group in refused:
        yield _refusal(plan, runtime, group, others)
    for group in _grouped((layer, each) for layer, each in loaded if each.form.caveat):
        yield _caveat(plan, runtime, group, others)
    for group in _grouped((layer, each) for layer, each in loaded if each.unaligned):
        yield _shape(plan, runtime, group, others)
    yield from _head(plan, runtime, [layer for layer, _ in found])
    unlike = tuple(fused_layer_findings(plan, runtime, export_plan))
    yield from unlike
    if not packed:
        yield Finding(
            "loads", "fine", message("{title} loads a dense folder as it loads the original", title=runtime.title)
        )
    elif not refused and all(finding.level != "blocks" for finding in unlike):
        title = message(
            "{title} loads {layers} packed", title=runtime.title, layers=layers([layer.name for layer, _ in packed])
        )
        forms = {each.form.name: each.form for _, each in found}
        sources = " ".join(f"{capital(form.name)}: {form.source}." for form in forms.values())
        yield Finding("loads", "fine", title, sources)


def _other_format(export_plan: ExportPlan, runtime: Runtime) -> Finding:
    named = message(" or ").join(target.title for target in loaded_targets(runtime))
    return Finding(
        "format",
        "blocks",
        message("{title} does not load what is written as {target}", title=runtime.title, target=export_plan.target),
        message("It loads {named}. Source: {source}.", named=named, source=runtime.source),
        fixes=other_targets(export_plan),
    )


def _grouped(found: Iterable[tuple[Layer, Match]]) -> Iterable[_Group]:
    """Layers that meet the same, in order."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], _Group] = {}
    for layer, each in found:
        groups.setdefault((each.form.name, each.hinders), _Group(each, [])).layers.append(layer)
    return groups.values()


def _refusal(plan: Plan, runtime: Runtime, group: _Group, others: Sequence[Fix]) -> Finding:
    kinds = [kind for kind, _ in group.match.hinders]
    detail = message(
        "{names}. Source: {source}.",
        names="; ".join((reason for _, reason in group.match.hinders)),
        source=group.form.source,
    )
    title = message("{title} does not load {these}", title=runtime.title, these=these(group.names))
    return Finding(kinds[0], "blocks", title, detail, group.names, (*_fixes(plan, group), *others))


def _caveat(plan: Plan, runtime: Runtime, group: _Group, others: Sequence[Fix]) -> Finding:
    title = message("{title} loads {these} under a condition", title=runtime.title, these=these(group.names))
    detail = message("{caveat}. Source: {source}.", caveat=group.form.caveat, source=group.form.source)
    return Finding("caveat", "warns", title, detail, group.names, (*_fixes(plan, group), *others))


def _shape(plan: Plan, runtime: Runtime, group: _Group, others: Sequence[Fix]) -> Finding:
    title = message(
        "{are} of a shape that {title}'s kernel does not take as it is", are=are(group.names), title=runtime.title
    )
    detail = message("{unaligned}. Source: {source}.", unaligned=group.form.unaligned, source=group.form.source)
    keep = Fix(message("Keep {these}", these=these(group.names)), changes.keeping(plan, group.names))
    return Finding("shape", "warns", capital(title), detail, group.names, (keep, *others))


def _head(plan: Plan, runtime: Runtime, packed: list[Layer]) -> Iterator[Finding]:
    heads = tuple(layer.name for layer in packed if layer.role == "lm_head")
    if heads and runtime.head:
        keep = Fix(message("Keep the output head"), changes.keeping(plan, heads))
        yield Finding(
            "head",
            "warns",
            message("The output head is packed"),
            message("{sentence}.", sentence=runtime.head),
            heads,
            (keep,),
        )


def _fixes(plan: Plan, group: _Group) -> Iterator[Fix]:
    """Edits that may bring the layers into a form that is loaded without conditions; not all do."""
    names = group.names
    elements = [row.treatment.scheme.elements for row in plan.treated_rows if row.layer.name in set(names)]
    integers = [each for each in elements if each.kind == "int"]
    if any(not each.symmetric for each in integers):
        yield Fix(message("Use symmetric scales"), changes.changed(plan, names, changes.symmetric))
    for bits in sorted({each.bits for each in integers} - {4, 8}):
        wanted = 4 if bits < 4 else 8
        some = [
            row.layer.name
            for row in plan.treated_rows
            if row.layer.name in set(names)
            and (row.treatment.scheme.elements.kind, row.treatment.scheme.elements.bits) == ("int", bits)
        ]
        yield Fix(
            message("Use {wanted} bits instead of {bits}", wanted=wanted, bits=bits),
            changes.changed(plan, some, changes.with_bits(wanted)),
        )
    if integers:
        for size in (128, 64, 32):
            if not any(layer.matrix_shape[1] % size for layer in group.layers):
                yield Fix(
                    message("Use groups of {size} (divides {these})", size=size, these=these(names)),
                    changes.changed(plan, names, changes.grouped(size)),
                )
                break
    yield Fix(message("Use one scale per channel"), changes.changed(plan, names, changes.per_channel))
    yield Fix(message("Leave the inputs as they are"), changes.changed(plan, names, changes.full_inputs))
    yield Fix(
        message("Use symmetric 4-bit integers in groups of 128"), changes.changed(plan, names, changes.integers(4, 128))
    )
    yield Fix(
        message("Use symmetric 4-bit integers, one scale per channel"),
        changes.changed(plan, names, changes.integers(4, 0)),
    )
    yield Fix(message("Keep {these}", these=these(names)), changes.keeping(plan, names))
