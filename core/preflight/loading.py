"""Whether a runtime loads what an export will write, and what would have to be otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.checkpoint.records import Layer
from core.export.compressed_layout import layout_of
from core.export.outline import Outline
from core.export.targets import Dense
from core.methods.integer import Integer
from core.preflight import changes
from core.preflight.alike import alike_findings
from core.preflight.foreign import foreign_findings
from core.preflight.matching import Match, match
from core.preflight.runtimes import Form, Runtime
from core.preflight.wording import are, capital, layers, these
from core.protocol.results import Finding, Mend
from core.recipe.plan import Plan


@dataclass(frozen=True)
class _Group:
    """Layers that meet the same."""

    match: Match
    layers: list[Layer]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.layers)

    @property
    def form(self) -> Form:
        return self.match.form


def loading_findings(plan: Plan, outline: Outline, runtime: Runtime) -> Iterator[Finding]:
    """What hinders `runtime` from loading the export, and what it takes."""
    if outline.target not in runtime.targets:
        yield from foreign_findings(plan, outline, runtime)
        return
    packed = [(part, layout_of(part.treatment)) for part in outline.parts if part.treatment is not None]
    found = [(part.layer, match(runtime, layout, part.layer)) for part, layout in packed]
    refused = _grouped((layer, each) for layer, each in found if each.hinders)
    loaded = [(layer, each) for layer, each in found if not each.hinders]
    for group in refused:
        yield _refusal(plan, runtime, group)
    for group in _grouped((layer, each) for layer, each in loaded if each.form.caveat):
        yield _caveat(plan, runtime, group)
    for group in _grouped((layer, each) for layer, each in loaded if each.unaligned):
        yield _shape(plan, runtime, group)
    yield from _head(plan, runtime, [layer for layer, _ in found])
    unlike = tuple(alike_findings(plan, runtime, packed))
    yield from unlike
    if not packed:
        yield Finding("loads", "fine", f"{runtime.title} loads a dense folder as it loads the original")
    elif not refused and all(finding.level != "blocks" for finding in unlike):
        title = f"{runtime.title} loads {layers([layer.name for layer, _ in found])} packed"
        forms = {each.form.name: each.form for _, each in found}
        sources = " ".join(f"{capital(form.name)}: {form.source}." for form in forms.values())
        yield Finding("loads", "fine", title, sources)


def _grouped(found: Iterable[tuple[Layer, Match]]) -> Iterable[_Group]:
    """Layers that meet the same, in order."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], _Group] = {}
    for layer, each in found:
        groups.setdefault((each.form.name, each.hinders), _Group(each, [])).layers.append(layer)
    return groups.values()


def _refusal(plan: Plan, runtime: Runtime, group: _Group) -> Finding:
    kinds = [kind for kind, _ in group.match.hinders]
    detail = f"{'; '.join(reason for _, reason in group.match.hinders)}. Source: {group.form.source}."
    title = f"{runtime.title} does not load {these(group.names)}"
    return Finding(kinds[0], "blocks", title, detail, group.names, tuple(_mends(plan, group)))


def _caveat(plan: Plan, runtime: Runtime, group: _Group) -> Finding:
    title = f"{runtime.title} loads {these(group.names)} under a condition"
    detail = f"{group.form.caveat}. Source: {group.form.source}."
    return Finding("caveat", "warns", title, detail, group.names, tuple(_mends(plan, group)))


def _shape(plan: Plan, runtime: Runtime, group: _Group) -> Finding:
    title = f"{are(group.names)} of a shape that {runtime.title}'s kernel does not take as it is"
    detail = f"{group.form.unaligned}. Source: {group.form.source}."
    keep = Mend(f"Keep {these(group.names)}", changes.keeping(plan, group.names))
    return Finding(
        "shape", "warns", capital(title), detail, group.names, (keep, Mend("Export dense", target=Dense.key))
    )


def _head(plan: Plan, runtime: Runtime, packed: list[Layer]) -> Iterator[Finding]:
    heads = tuple(layer.name for layer in packed if layer.role == "lm_head")
    if heads and runtime.head:
        keep = Mend("Keep the output head", changes.keeping(plan, heads))
        yield Finding("head", "warns", "The output head is packed", f"{runtime.head}.", heads, (keep,))


def _mends(plan: Plan, group: _Group) -> Iterator[Mend]:
    """Edits that may bring the layers into a form that is loaded without conditions; not all do."""
    names = group.names
    schemes = [row.treatment.scheme for row in plan.treated() if row.layer.name in set(names)]
    integers = [scheme for scheme in schemes if isinstance(scheme, Integer)]
    if any(not scheme.symmetric for scheme in integers):
        yield Mend("Use symmetric scales", changes.changed(plan, names, changes.symmetric))
    for bits in sorted({scheme.bits for scheme in integers} - {4, 8}):
        wanted = 4 if bits < 4 else 8
        some = [
            row.layer.name
            for row in plan.treated()
            if row.layer.name in set(names) and _bits(row.treatment.scheme) == bits
        ]
        yield Mend(f"Use {wanted} bits instead of {bits}", changes.changed(plan, some, changes.with_bits(wanted)))
    if integers:
        for size in (128, 64, 32):
            if not any(layer.matrix_shape[1] % size for layer in group.layers):
                yield Mend(
                    f"Use groups of {size} (divides {these(names)})",
                    changes.changed(plan, names, changes.grouped(size)),
                )
                break
    yield Mend("Use one scale per channel", changes.changed(plan, names, changes.per_channel))
    yield Mend("Leave the inputs as they are", changes.changed(plan, names, changes.full_inputs))
    yield Mend("Use symmetric 4-bit integers in groups of 128", changes.changed(plan, names, changes.integers(4, 128)))
    yield Mend(
        "Use symmetric 4-bit integers, one scale per channel", changes.changed(plan, names, changes.integers(4, 0))
    )
    yield Mend(f"Keep {these(names)}", changes.keeping(plan, names))
    yield Mend("Export dense", target=Dense.key)


def _bits(scheme: object) -> int:
    return scheme.bits if isinstance(scheme, Integer) else 0
