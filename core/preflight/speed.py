"""Where layers are faster than dense ones, and where not."""

from __future__ import annotations

from collections.abc import Iterator

from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.language import capital, message
from benchvise.core.preflight.export_targets import loads
from benchvise.core.preflight.facts import Facts
from benchvise.core.preflight.runtime_match import match
from benchvise.core.preflight.runtimes import LoadedForm, Runtime
from benchvise.core.preflight.wording import layers
from benchvise.core.protocol.results import Finding

MUCH_DENSE = 0.1
"""Of the bytes of all treated linear layers: where more run dense, the result is hardly faster."""


def dense_findings(facts: Facts) -> Iterator[Finding]:
    """Whether much of what is compressed runs dense all the same, in Benchvise's own runtime."""
    nbytes = sum(each.nbytes for each in facts.dense)
    if nbytes <= MUCH_DENSE * facts.linear_bytes:
        return
    names = tuple(name for each in facts.dense for name in each.layers)
    title = message("{nbytes:.0%} of the compressed weights run dense here", nbytes=nbytes / facts.linear_bytes)
    reasons = "; ".join(f"{layers(each.layers)}: {each.reason}" for each in facts.dense)
    detail = message(
        "Their codes are decoded once, so that they are no faster and take no less memory while running. {reasons}.",
        reasons=reasons,
    )
    yield Finding("runs dense", "warns", title, detail, names)


def speed_findings(export_plan: ExportPlan, runtime: Runtime) -> Iterator[Finding]:
    """One finding for each way in which `runtime` computes with the layers it loads."""
    if not loads(runtime, export_plan):
        return  # what its converter makes of them is said there
    found: dict[str, tuple[LoadedForm, list[str]]] = {}
    packed = export_plan.packed()
    for layer, layout in packed:
        matched = match(runtime, layout, layer)
        if not matched.hinders:
            found.setdefault(matched.form.name, (matched.form, []))[1].append(layer.name)
    for form, names in found.values():
        if form.faster:
            title = message(
                "{layers}: faster in {title} {faster}",
                layers=capital(layers(names)),
                title=runtime.title,
                faster=form.faster,
            )
            yield Finding(
                "speed", "tells", title, message("{name}. {why}.", name=capital(form.name), why=form.why), tuple(names)
            )
        else:
            title = message("Not faster in {title}", title=runtime.title)
            yield Finding(
                "speed",
                "warns",
                title,
                message("{why}. Source: {source}.", why=form.why, source=form.source),
                tuple(names),
            )
    if not packed:
        yield Finding(
            "speed",
            "warns",
            message("Not faster in {title}", title=runtime.title),
            message("No layer is packed: a dense folder is as fast as the original, and takes as much memory."),
        )
