"""What a run changed, as rows before → after, and in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchvise.core.language import message, tr
from benchvise.core.protocol.results import RunSummary
from benchvise.core.text import NOTHING, byte_text, kl_text, number_text, percent_text, quality_word

_PEAK = message("The most that loading the model and decoding took")


@dataclass(frozen=True)
class ChangeRow:
    """One figure of the original and of the compressed model; change: their ratio or difference in words."""

    title: str
    before: str
    after: str
    change: str
    help: str


def change_rows(run: RunSummary) -> tuple[ChangeRow, ...]:
    """Size first, then quality, then speed and memory; what was not measured yet is a dash."""
    return (
        _row(tr("Size"), run.bytes_before, run.bytes_after, byte_text, _share, tr("Bytes of all weights")),
        ChangeRow(tr("Bits per weight"), NOTHING, f"{run.bits_per_weight:.2f}", "", tr("Over all weights")),
        _row(tr("Perplexity"), run.perplexity_before, run.perplexity, _plain, _ratio, tr("On the evaluation text")),
        ChangeRow(
            tr("KL divergence"), NOTHING, _or_dash(run.kl_mean, kl_text), _word(run.kl_mean), tr("Nats per token")
        ),
        ChangeRow(
            tr("Same top token"), NOTHING, _or_dash(run.top1_agreement, percent_text), "", tr("Share of all tokens")
        ),
        _row(
            tr("Speed"),
            _speed(run.decode_ms_before),
            _speed(run.decode_ms),
            _tokens,
            _ratio,
            tr("Decoding, one sequence"),
        ),
        _row(
            tr("Peak memory"),
            _known(run.decode_peak_bytes_before),
            _known(run.decode_peak_bytes),
            byte_text,
            _ratio,
            tr(_PEAK),
        ),
    )


def headline(run: RunSummary) -> str:
    """`Slight loss, at 34 % of the size`; without a quality as long as it is not measured."""
    share = percent_text(run.bytes_after / run.bytes_before) if run.bytes_before else NOTHING
    if run.kl_mean is None:
        return tr("Done, at {share} of the size", share=share)
    return tr("{quality} loss, at {share} of the size", quality=tr(quality_word(run.kl_mean)).capitalize(), share=share)


def _row(
    title: str,
    before: float | None,
    after: float | None,
    text: Callable[[float], str],
    change: Callable[[float, float], str],
    help_text: str,
) -> ChangeRow:
    both = before is not None and after is not None and before > 0
    changed = change(before, after) if both and before is not None and after is not None else ""
    return ChangeRow(title, _or_dash(before, text), _or_dash(after, text), changed, help_text)


def _or_dash(value: float | None, text: Callable[[float], str]) -> str:
    return NOTHING if value is None else text(value)


def _plain(value: float) -> str:
    return number_text(value, 4)


def _tokens(value: float) -> str:
    return tr("{number} tok/s", number=number_text(value, 3))


def _speed(milliseconds: float | None) -> float | None:
    return 1000 / milliseconds if milliseconds else None


def _known(count: int | None) -> int | None:
    """A peak that was too small to be seen counts as not measured."""
    return count or None


def _share(before: float, after: float) -> str:
    return percent_text(after / before)


def _ratio(before: float, after: float) -> str:
    return f"×{number_text(after / before, 3)}"


def _word(kl: float | None) -> str:
    return "" if kl is None else tr(quality_word(kl))
