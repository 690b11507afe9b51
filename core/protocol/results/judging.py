"""What a run is worth: measured on text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evaluation:
    """Judged on held-out text, or other samples. kl_* in nats per token; None without an original to compare with.

    perplexity: None for a network that predicts no next tokens. cosine: the mean over positions of that between its
    output and the original's, relative_error: ‖output − original‖ ÷ ‖original‖; None for one that predicts tokens,
    whose KL divergence says more.

    weight_bytes: of the checkpoint as stored. peak_rss_bytes: of the process while it was judged, for which every
    layer is decoded; what a compressed model takes while it runs is in `Timing`. *_against: the same of the original.
    """

    source: str
    perplexity: float | None
    tokens: int
    weight_bytes: int
    peak_rss_bytes: int
    seconds: float
    kl_mean: float | None = None
    kl_p99: float | None = None
    top1_agreement: float | None = None
    against: str = ""
    perplexity_against: float | None = None
    weight_bytes_against: int | None = None
    peak_rss_bytes_against: int | None = None
    cosine: float | None = None
    relative_error: float | None = None


@dataclass(frozen=True)
class Generation:
    """Generated tokens as text pieces, and the log-probability the model gave to each."""

    pieces: tuple[str, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Generations:
    """Both texts; `diverges_at` is the index of the first differing token, None when none differs."""

    prompt: str
    original: Generation
    compressed: Generation
    diverges_at: int | None
