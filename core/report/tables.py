"""What every form of a report shows, as rows of words."""

from __future__ import annotations

from benchvise.core.protocol.results import Report, ReportLayer
from benchvise.core.text import byte_text, decibel_text, duration_text

NOT_MEASURED = "not measured"
LAYER_COLUMNS = ("layer", "treatment", "bits per weight", "before", "after", "SQNR", "KL increase", "share")


def summary_rows(report: Report) -> list[tuple[str, str]]:
    """(what, value): size, quality, latency and memory; what was not measured says so."""
    evaluation, latency = report.evaluation, report.latency
    rows = [
        ("Size", f"{byte_text(report.bytes_before)} → {byte_text(report.bytes_after)}"),
        ("Bits per weight", f"{report.bits_per_weight:.3f} over all layers"),
        ("Job", f"{duration_text(report.seconds)}, peak memory {byte_text(report.peak_rss_bytes)}"),
    ]
    if evaluation is None:
        rows.append(("Quality", NOT_MEASURED))
    else:
        if evaluation.perplexity is not None:
            rows.append(("Perplexity", _pair(evaluation.perplexity_against, evaluation.perplexity, ".3f")))
        if evaluation.cosine is not None:
            rows.append(("Cosine to the original's outputs", f"{evaluation.cosine:.5f}"))
        if evaluation.kl_mean is not None:
            rows.append(("KL divergence", f"{evaluation.kl_mean:.5f} nats per token, {evaluation.tokens:,} tokens"))
        if evaluation.top1_agreement is not None:
            rows.append(("Top-1 agreement", f"{100 * evaluation.top1_agreement:.2f} %"))
    if latency is None:
        rows.append(("Decoding", NOT_MEASURED))
    else:
        before = latency.against.median_ms if latency.against is not None else None
        rows.append(("Decoding", f"{_pair(before, latency.timing.median_ms, '.2f')} ms per token"))
        rows.append(("Memory of the weights", byte_text(latency.timing.weight_bytes)))
    return rows


def layer_row(layer: ReportLayer) -> tuple[str, ...]:
    """The words of a layer, by `LAYER_COLUMNS`."""
    return (
        layer.name,
        layer.treatment,
        f"{layer.bits_per_weight:.3f}",
        byte_text(layer.bytes_before),
        byte_text(layer.bytes_after),
        f"{decibel_text(layer.sqnr_db)} dB" if layer.sqnr_db is not None else "–",
        f"{layer.kl:.6f}" if layer.kl is not None else "–",
        f"{100 * layer.kl_share:.1f} %" if layer.kl_share is not None else "–",
    )


def origin_rows(report: Report) -> list[tuple[str, str]]:
    """(what, value): hashes, versions and machine."""
    return [
        *((f"sha256 of {name}", digest) for name, digest in report.files),
        *report.versions,
        ("machine", f"{report.machine}, {report.threads} threads"),
        ("run", f"{report.run}, {report.created}"),
    ]


def _pair(before: float | None, after: float, form: str) -> str:
    return f"{before:{form}} → {after:{form}}" if before is not None else f"{after:{form}}"
