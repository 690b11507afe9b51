"""Jobs, what they made, and how it was forecast."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchvise.core.protocol.results.basis import Estimate
from benchvise.core.recipe.plan_warning import PlanWarning


@dataclass(frozen=True)
class LayerCompressed:
    """One finished layer. sqnr_db is None for exact results (no error) or weights without energy.

    output_error: squared error of the layer's outputs on calibration text over their energy; None where it was not
    measured. notes: what the solver did and every plan warning, as phrases. treatment: its tag; key:
    names it, "" in the records of earlier versions.
    source: the layer's name in the checkpoint as it was opened, where surgery moved it; else "".
    """

    name: str
    treatment: str
    sqnr_db: float | None
    max_error: float
    zeros: int
    bytes_before: int
    bytes_after: int
    bits_per_weight: float
    seconds: float
    resumed: bool = False
    notes: tuple[str, ...] = ()
    output_error: float | None = None
    key: str = ""
    source: str = ""


@dataclass(frozen=True)
class TuningStep:
    """One step of a tuning stage's loop, out of `steps`. method: the key of what is carried out.

    loss: on the samples of this step, None beside `held_out`: mean KL in nats per token on samples that are not learned
    from, which is measured before the first step and after the last.
    """

    method: str
    step: int
    steps: int
    loss: float | None = None
    held_out: float | None = None


@dataclass(frozen=True)
class Run:
    """A finished compression as the workspace keeps it.

    out, target: where it was also exported to and as what; dense: the folder of those that is dense, "" when none is.
    """

    run: str
    checkpoint: str
    recipe_name: str
    bits_per_weight: float
    bits_per_treated_weight: float
    bytes_before: int
    bytes_after: int
    layers: tuple[LayerCompressed, ...]
    seconds: float
    peak_rss_bytes: int
    warnings: tuple[PlanWarning, ...] = ()
    out: str = ""
    target: str = ""
    dense: str = ""


@dataclass(frozen=True)
class JobForecast:
    """What carrying out a recipe will take on this machine.

    seconds, peak_bytes: as `Run.seconds` and `Run.peak_rss_bytes` will say.
    disk_bytes: the most that the workspace and the export take while the job runs.
    parts:      (what, seconds), in the order of the work; they add up to the seconds before any correction.
    memory:     (what, bytes), in the same way, at the moment when most is in memory.
    notes:      where the figures come from and what they leave out, as sentences.
    """

    seconds: Estimate
    peak_bytes: Estimate
    disk_bytes: int
    parts: tuple[tuple[str, float], ...] = ()
    memory: tuple[tuple[str, int], ...] = ()
    device: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """verified: what a runtime that is installed here made of the result, as a phrase; "" where none was asked."""

    out: str
    target: str
    bytes_on_disk: int
    files: tuple[str, ...]
    warnings: tuple[PlanWarning, ...] = ()
    verified: str = ""


@dataclass(frozen=True)
class Ready:
    """The engine is warm. device: what jobs run on, in words."""

    device: str
    threads: int


@dataclass(frozen=True)
class Comparison:
    """A forecast that was made before a run, and what was measured on the run.

    kind: "bytes", "kl" (nats per token), "decode_ms", "speed_up" (original ÷ compressed, timed in turns), "peak_bytes"
    or "seconds". made: when it was forecast, ISO.
    """

    kind: str
    forecast: Estimate
    measured: float
    made: str = ""

    @property
    def error(self) -> float:
        """Forecast ÷ measured − 1; 0 when both are zero, infinite when only the measured is."""
        if self.measured == 0:
            return 0.0 if self.forecast.value == 0 else float("inf")
        return self.forecast.value / self.measured - 1

    @property
    def inside(self) -> bool:
        """Whether the measured lies within the range that was forecast."""
        return self.forecast.low <= self.measured <= self.forecast.high


@dataclass(frozen=True)
class RunSummary:
    """One row of the Runs table: what a run is and everything measured on it.

    peak_rss_bytes: while it was judged. decode_peak_bytes: while it ran on its kernels, as `Timing.peak_bytes`.
    """

    run: str
    checkpoint: str
    recipe_name: str
    created: str
    state: str
    bits_per_weight: float
    bytes_before: int
    bytes_after: int
    seconds: float
    perplexity: float | None = None
    perplexity_before: float | None = None
    kl_mean: float | None = None
    kl_p99: float | None = None
    top1_agreement: float | None = None
    decode_ms: float | None = None
    decode_ms_before: float | None = None
    speed_up: float | None = None
    peak_rss_bytes: int | None = None
    decode_peak_bytes: int | None = None
    decode_peak_bytes_before: int | None = None
    exports: tuple[str, ...] = field(default=())
    comparisons: tuple[Comparison, ...] = ()
