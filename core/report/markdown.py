"""A report as a section of a model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchvise.core.protocol.results import Report
from benchvise.core.report.tables import LAYER_COLUMNS, layer_row, origin_rows, summary_rows


def as_markdown(report: Report) -> str:
    """Tables of what was measured, the recipe, hashes and versions."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"## {report.checkpoint}, compressed with {report.recipe_name or 'its own recipe'}"
    yield ""
    yield from _table(("", ""), summary_rows(report))
    for export in report.exports:
        yield f"- `{export.target}`: {export.verified or 'not verified by a runtime'}"
    yield ""
    yield "### Layers"
    yield ""
    yield from _table(LAYER_COLUMNS, [layer_row(layer) for layer in report.layers])
    yield "### Recipe"
    yield ""
    yield from ("```yaml", report.recipe.rstrip("\n"), "```", "")
    yield "### Hashes, versions, machine"
    yield ""
    yield from _table(("", ""), origin_rows(report))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""
