"""How fast models run, measured and forecast."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.protocol.results.basis import Counts, Estimate, Floats


@dataclass(frozen=True)
class Timing:
    """Milliseconds per decoding step, one token of each of `batch` sequences: median and extremes over repetitions.

    weight_bytes: memory the weights take while running. peak_bytes: the most that loading the model and decoding took.
    prefill_ms: median time to the first token, in which the context is read; None where it was not taken.
    """

    median_ms: float
    least_ms: float
    greatest_ms: float
    weight_bytes: int
    routes: tuple[tuple[str, int], ...]
    fallbacks: tuple[str, ...] = ()
    peak_bytes: int = 0
    batch: int = 1
    prefill_ms: float | None = None

    @property
    def tokens_per_second(self) -> float:
        """Of all sequences together."""
        return 1000.0 * self.batch / self.median_ms if self.median_ms else 0.0


@dataclass(frozen=True)
class Latency:
    """Measured latency; `against` and `speed_up` (median of paired ratios) when interleaved with an original."""

    source: str
    device: str
    threads: int
    context: int
    tokens: int
    timing: Timing
    against: Timing | None = None
    speed_up: float | None = None
    batch: int = 1


@dataclass(frozen=True)
class LatencyForecast:
    """≈ milliseconds per decoding step, and for reading in a prompt, before and after a recipe.

    machine:   whose times these are, in words; other_machine when that is not this machine.
    before_ms: of a step that decodes one token of each of `batch` sequences after `context` others; after_ms likewise.
    prefill_*: time to the first token of `batch` prompts of `prompt` tokens; None where none was asked.
    doubt:     what forecasts of how two models compare were seen to be off by, as a fraction.
    """

    machine: str
    before_ms: Estimate
    after_ms: Estimate
    weight_bytes_before: int
    weight_bytes_after: int
    fallbacks: tuple[str, ...] = ()
    batch: int = 1
    context: int = 32
    prompt: int = 0
    prefill_before_ms: Estimate | None = None
    prefill_after_ms: Estimate | None = None
    other_machine: bool = False
    doubt: float = 0.15

    @property
    def speed_up(self) -> Estimate:
        """Before ÷ after. What slows the machine slows both, so its range is narrower than theirs."""
        after = self.after_ms.value
        value = self.before_ms.value / after if after > 0 else 1.0
        return Estimate(value, value / (1 + self.doubt), value * (1 + self.doubt))


@dataclass(frozen=True)
class LayerCosts:
    """≈ milliseconds that each treatment of each layer takes of one decoding step, under the conditions asked for.

    tags, keys:   of the treatments, in the order asked. milliseconds: float64 [layers, treatments].
    rest:         of the step, beside these layers. The step takes rest + the sum of the chosen entries.
    spread:       half the width of the range, as a fraction: 0.1 means ± 10 %.
    weight_bytes: int64 [layers, treatments], what one call reads.
    key:          names these costs in the workspace.
    """

    layers: tuple[str, ...]
    tags: tuple[str, ...]
    milliseconds: Floats
    rest: Estimate
    spread: float
    machine: str
    other_machine: bool
    key: str
    weight_bytes: Counts
    batch: int = 1
    context: int = 32
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class LinearTime:
    """Milliseconds of one linear layer [rows, columns] under a treatment, for `tokens` inputs at once.

    key: names what the layer ran as (`Treatment.running_key`). tag: the same for people, "dense" for a dense layer.
    dtype: of the model around it. weight_bytes: what one call reads. ms, low_ms, high_ms: median, 10th and 90th
    percentile.
    """

    route: str
    key: str
    tag: str
    dtype: str
    rows: int
    columns: int
    tokens: int
    weight_bytes: int
    ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class RestTime:
    """Milliseconds of what a step takes beside its linear layers: attention, norms, and the program around them.

    model:  digest of its config. dtype: that it computes in.
    hidden, keys: widths of the residual stream and of the keys of all heads together.
    prompt: tokens read in at once by each of `batch` sequences; 0 while decoding after `context` tokens.
    """

    model: str
    dtype: str
    blocks: int
    hidden: int
    keys: int
    batch: int
    context: int
    prompt: int
    ms: float


@dataclass(frozen=True)
class MachineProfile:
    """What a machine's kernels take, measured there. created: UTC, ISO 8601. threads: that torch computed with.

    machine: its name for people. key: what must be the same for it to be the same machine.
    device:  "cpu" or "cuda". triton: whether its compressed layers run on Triton's kernels.
    file:    where it lies.
    """

    machine: str
    key: str
    device: str
    triton: bool
    threads: int
    torch: str
    created: str
    linears: tuple[LinearTime, ...]
    rests: tuple[RestTime, ...]
    file: str = ""
