"""Where layers are faster than dense ones, and where not."""

from __future__ import annotations

from collections.abc import Iterator

from benchvise.core.export.compressed_layout import layout_of
from benchvise.core.export.export_plan import Outline
from benchvise.core.preflight.runtime_match import match
from benchvise.core.preflight.runtimes import Form, Runtime
from benchvise.core.preflight.wording import capital, layers
from benchvise.core.protocol.results import Finding


def speed_findings(outline: Outline, runtime: Runtime) -> Iterator[Finding]:
    """One finding for each way in which `runtime` computes with the layers it loads."""
    if outline.target not in runtime.targets:
        return  # what its converter makes of them is said there
    found: dict[str, tuple[Form, list[str]]] = {}
    for part in outline.parts:
        if part.treatment is None:
            continue
        matched = match(runtime, layout_of(part.treatment), part.layer)
        if not matched.hinders:
            found.setdefault(matched.form.name, (matched.form, []))[1].append(part.layer.name)
    for form, names in found.values():
        if form.faster:
            title = f"{capital(layers(names))}: faster in {runtime.title} {form.faster}"
            yield Finding("speed", "tells", title, f"{capital(form.name)}. {form.why}.", tuple(names))
        else:
            title = f"Not faster in {runtime.title}"
            yield Finding("speed", "warns", title, f"{form.why}. Source: {form.source}.", tuple(names))
    if not any(part.treatment is not None for part in outline.parts):
        yield Finding(
            "speed",
            "warns",
            f"Not faster in {runtime.title}",
            "No layer is packed: a dense folder is as fast as the original, and takes as much memory.",
        )
