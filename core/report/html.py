"""A report as one HTML file that needs nothing else: no script runs, nothing is fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape

from benchvise.core.protocol.results import Generation, Report, ReportHistogram
from benchvise.core.report.tables import LAYER_COLUMNS, layer_row, origin_rows, summary_rows

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2530;max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #e3e7ee;vertical-align:top}
th{font-weight:600}
.n td:nth-child(n+3){font-variant-numeric:tabular-nums;white-space:nowrap}
pre{background:#f4f6f9;padding:.75rem;overflow:auto}
figure{display:inline-block;margin:0 1rem 1rem 0}
.muted{color:#667385}
mark{background:#ffd9a8}
@media(prefers-color-scheme:dark){
body{background:#161a20;color:#dfe5ee}
th,td{border-color:#2c343f}
pre{background:#1f252e}
mark{background:#7a4b12;color:#fff}
}
"""
_WIDTH, _HEIGHT = 480, 120


def as_html(report: Report) -> str:
    """The whole page. The facts lie in it as JSON too, for whoever does it again."""
    return "\n".join(_parts(report)) + "\n"


def _parts(report: Report) -> Iterator[str]:
    title = f"{report.checkpoint}, compressed with {report.recipe_name or 'its own recipe'}"
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
    yield f'<h1>{escape(title)}</h1><p class="muted">{escape(report.architecture or "plain tensors")}</p>'
    yield _table(("", ""), summary_rows(report))
    yield "<h2>Exports</h2>"
    rows = [(each.target, each.verified or "not verified by a runtime") for each in report.exports]
    yield _table(("target", "verification"), rows) if rows else '<p class="muted">Not exported.</p>'
    warnings = [*report.warnings, *(warning for each in report.exports for warning in each.warnings)]
    if warnings:
        yield "<h2>Warnings</h2><ul>" + "".join(f"<li>{escape(each)}</li>" for each in warnings) + "</ul>"
    yield "<h2>Layers</h2>"
    yield _table(LAYER_COLUMNS, [layer_row(layer) for layer in report.layers], "n")
    if report.histograms:
        yield '<h2>Worst layers</h2><p class="muted">Values before (grey) and after (blue).</p>'
        yield from map(_figure, report.histograms)
    if report.generations is not None:
        found = report.generations
        yield f"<h2>Texts</h2><p>Prompt: {escape(found.prompt)}</p>"
        texts = [_text(each, found.diverges_at) for each in (found.original, found.compressed)]
        cells = f"<tr><td>{texts[0]}</td><td>{texts[1]}</td></tr>"
        yield f"<table><tr><th>original</th><th>compressed</th></tr>{cells}</table>"
    yield f"<h2>Recipe</h2><pre>{escape(report.recipe)}</pre>"
    yield "<h2>Hashes, versions, machine</h2>"
    yield _table(("", ""), origin_rows(report))
    facts = json.dumps(asdict(report), ensure_ascii=False).replace("<", "\\u003c")
    yield f'<script type="application/json" id="report">{facts}</script></body></html>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], style: str = "") -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads) if any(heads) else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="{style}">{f"<tr>{head}</tr>" if head else ""}{body}</table>'


def _text(generation: Generation, differs: int | None) -> str:
    pieces = [escape(piece) for piece in generation.pieces]
    if differs is not None and differs < len(pieces):
        pieces[differs] = f"<mark>{pieces[differs]}</mark>"
    return "".join(pieces)


def _figure(histogram: ReportHistogram) -> str:
    most = max(*histogram.before, *histogram.after, 1)
    width = _WIDTH / len(histogram.before)
    bars = (_bars(histogram.before, most, width, 1.0, "#b4bcc8"), _bars(histogram.after, most, width, 0.5, "#2f6fde"))
    drawn = f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img">{"".join(bars)}</svg>'
    caption = f"{escape(histogram.layer)}: {histogram.low:.4g} to {histogram.high:.4g}"
    return f'<figure>{drawn}<figcaption class="muted">{caption}</figcaption></figure>'


def _bars(counts: Sequence[int], most: int, width: float, share: float, colour: str) -> str:
    return "".join(
        f'<rect x="{number * width:.1f}" y="{_HEIGHT * (1 - count / most):.1f}" width="{width * share:.1f}" '
        f'height="{_HEIGHT * count / most:.1f}" fill="{colour}"/>'
        for number, count in enumerate(counts)
    )
