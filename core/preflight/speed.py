"""Where layers are faster than dense ones, and where not."""

from __future__ import annotations

from collections.abc import Iterator

from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.preflight.export_targets import loads
from benchvise.core.preflight.runtime_match import match
from benchvise.core.preflight.runtimes import LoadedForm, Runtime
from benchvise.core.preflight.wording import capital, layers
from benchvise.core.protocol.results import Finding


def speed_findings(export_plan: ExportPlan, runtime: Runtime) -> Iterator[Finding]:
    """One finding for each way in which `runtime` computes with the layers it loads."""
    if not loads(runtime, export_plan):
        return  # what its converter makes of them is said there
    found: dict[str, tuple[LoadedForm, list[str]]] = {}
    packed = export_plan.packed()
    for layer, layout in packed if runtime.forms else ():
        matched = match(runtime, layout, layer)
        if not matched.hinders:
            found.setdefault(matched.form.name, (matched.form, []))[1].append(layer.name)
    for form, names in found.values():
        if form.faster:
            title = f"{capital(layers(names))}: faster in {runtime.title} {form.faster}"
            yield Finding("speed", "tells", title, f"{capital(form.name)}. {form.why}.", tuple(names))
        else:
            title = f"Not faster in {runtime.title}"
            yield Finding("speed", "warns", title, f"{form.why}. Source: {form.source}.", tuple(names))
    if not packed:
        yield Finding(
            "speed",
            "warns",
            f"Not faster in {runtime.title}",
            "No layer is packed: a dense folder is as fast as the original, and takes as much memory.",
        )
