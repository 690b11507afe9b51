"""What the core answers. Plain frozen records; arrays are numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.checkpoint.records import Checkpoint, Layer
from core.recipe.recipe import Recipe

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Counts = NDArray[np.int64]

USUAL_CONTEXT = 32
"""Tokens before the one that is decoded, where nothing else is asked: measured and forecast alike."""


@dataclass(frozen=True)
class LayersOpened:
    """A part of the layers of a checkpoint that is being opened, in order."""

    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Opened:
    """The checkpoint without its layers, which came before in `LayersOpened` parts."""

    checkpoint: Checkpoint


@dataclass(frozen=True)
class Planned:
    """A plan in columns, one entry per layer in the checkpoint's order.

    tags: of the distinct treatments; `choice[i]` indexes them for layer i; `rules[i]` is -1 where no rule decided.
    calibration: what the job reads to learn activations from, in words; "" when nothing does.
    """

    tags: tuple[str, ...]
    choice: NDArray[np.int32]
    bytes_after: NDArray[np.int64]
    rules: NDArray[np.int32]
    total_before: int
    total_after: int
    bits_per_weight: float
    bits_per_treated_weight: float
    treated_layers: int
    warnings: tuple[str, ...]
    calibration: str = ""


@dataclass(frozen=True)
class Histogram:
    """How many finite values fall between neighbouring edges; the last bin includes its upper edge.

    edges:  float64 [bins + 1], ascending, evenly spaced.
    counts: int64 [bins]; NaN, infinities and values outside the edges are not counted.
    """

    edges: Floats
    counts: Counts


@dataclass(frozen=True)
class Statistics:
    """What the values of one tensor are like, exactly, in its own unit. Without finite values the floats are NaN.

    count:     all values; `nan` and `infinite` (both signs) of them are not finite. All else is of the finite ones.
    std:       of the population (divided by n).
    kurtosis:  excess: 0 for a normal distribution; NaN for a constant.
    outliers:  values further than six standard deviations from the mean.
    quantiles: (fraction, value) at the fractions 0.001, 0.01, 0.5, 0.99 and 0.999, interpolated as `np.quantile` does.
    """

    count: int
    minimum: float
    maximum: float
    mean: float
    std: float
    kurtosis: float
    zeros: int
    nan: int
    infinite: int
    outliers: int
    abs_max: float
    quantiles: tuple[tuple[float, float], ...] = ()

    @property
    def zero_fraction(self) -> float:
        """Zeros among all values; 0 for an empty tensor."""
        return self.zeros / self.count if self.count else 0.0


@dataclass(frozen=True)
class Looked:
    """A layer's histogram and statistics, and the same after a treatment.

    grid: values of the quantisation grid within the histogram's range, of the group with the largest scale, [levels];
    sqnr_db: of the whole layer, None without `after`.
    """

    layer: str
    before: Histogram
    statistics: Statistics
    after: Histogram | None = None
    statistics_after: Statistics | None = None
    grid: Floats | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class HeatMap:
    """Cells of a matrix, each showing the value of largest magnitude in it, with its sign.

    values:       float32 [cell rows, cell columns]; NaN where a cell holds nothing but NaN; infinities stay.
    row_edges:    int64 [cell rows + 1]; cell i covers rows row_edges[i] to row_edges[i + 1] of the matrix.
    column_edges: int64 [cell columns + 1], the same for columns.
    limit:        99.9th percentile of the finite |cells|: what a zero-centred colour map should reach.
    extreme:      the largest finite |cell|, that of the whole matrix. Both are 0 without finite cells.
    """

    values: Floats32
    row_edges: Counts
    column_edges: Counts
    limit: float
    extreme: float


@dataclass(frozen=True)
class LookedMap:
    layer: str
    weight: HeatMap
    error: HeatMap | None = None


@dataclass(frozen=True)
class ChannelRanges:
    """Ranges of every row or of every column of a weight as a matrix; all float32 [channels].

    Of finite values only; a channel without any is NaN throughout.
    """

    minimum: Floats32
    maximum: Floats32
    abs_max: Floats32
    mean: Floats32


@dataclass(frozen=True)
class LookedChannels:
    layer: str
    outputs: ChannelRanges
    inputs: ChannelRanges


@dataclass(frozen=True)
class Estimate:
    """A forecast: ≈ value, and the range it is expected in."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SensitivityCell:
    """KL divergence (nats per token, mean) at the output that `treatment` (a tag) of `layer` brings.

    kl: infinite when the model's outputs are no numbers any more. method: how it was found, as in `MeasureSensitivity`.
    output_error: squared error of the layer's own outputs over their energy; sqnr_db: of its weight; None where they
    are not known.
    """

    layer: str
    treatment: str
    kl: float
    cached: bool = False
    method: str = "enable_one"
    output_error: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class Together:
    """What several treated layers do at once: the sum of their single damages, and the KL that was measured."""

    added: float
    measured: float


@dataclass(frozen=True)
class Sensitivity:
    """All cells; `warnings` tell what could not be measured as it was asked, as sentences.

    key:              names the measurement in the workspace, for `Allocate`.
    rank_correlation: Spearman's, of fisher with measured damages, over `compared` cells; None without both.
    together:         what the correction pass measured.
    """

    cells: tuple[SensitivityCell, ...]
    tokens: int
    seconds: float
    warnings: tuple[str, ...] = ()
    key: str = ""
    rank_correlation: float | None = None
    compared: int = 0
    together: tuple[Together, ...] = ()


@dataclass(frozen=True)
class WhatIfAnswer:
    """What another treatment would do to one layer.

    kl: at the model's output, None where the model cannot be run (`notes` say why). output_error: squared error of the
    layer's outputs on the same text over their energy. sqnr_db: None when exact.
    """

    layer: str
    treatment: str
    sqnr_db: float | None
    bytes_after: int
    kl: float | None = None
    output_error: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alternatives:
    """Per allocated layer its next choice in one direction, [layers] each.

    choice: index into `Allocated.tags`, -1 for none. cost: change in the budget's unit. kl: change of the predicted KL
    in nats per token.
    """

    choice: NDArray[np.int32]
    cost: Floats
    kl: Floats


@dataclass(frozen=True)
class Front:
    """The cheapest way to each quality, [points] each, cost ascending: cost in `unit` ("bytes" or "ms"), and the KL."""

    unit: str
    cost: Floats
    kl: Floats


@dataclass(frozen=True)
class Allocated:
    """A treatment for each layer within a budget.

    tags:      of the candidates, "keep" among them; `choice[i]` indexes them for `layers[i]`.
    recipe, planned: ready to be put in place.
    kl:        predicted at the model's output. latency_ms: of one decoded token, None when no profile was asked.
    cost:      what is used of the budget, in its own unit; `unit` is the front's.
    price:     KL per unit of cost at the margin: what the next bit of budget would bring.
    damage:    [layers] what each layer's choice adds to the predicted KL.
    better, cheaper: each layer's next choices.
    notes:     what hindered or was departed from, as sentences.
    """

    layers: tuple[str, ...]
    tags: tuple[str, ...]
    choice: NDArray[np.int32]
    recipe: Recipe
    planned: Planned
    kl: Estimate
    cost: float
    price: float
    damage: Floats
    front: Front
    better: Alternatives
    cheaper: Alternatives
    latency_ms: Estimate | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mend:
    """One way to do away with a finding: another recipe, ready to be put in place, or another export target."""

    label: str
    recipe: Recipe | None = None
    target: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that a person should know before a run.

    kind:   names what was looked at, the same in every check: "disk", "group", "fused", …
    level:  "blocks" (it will not run, or not load), "warns" (not what was asked for, or in vain), "tells", "fine".
    title:  a sentence without its full stop; detail: why, and what follows, with its source where it is about others.
    layers: names of the layers it is about, all of them.
    """

    kind: str
    level: Literal["blocks", "warns", "tells", "fine"]
    title: str
    detail: str = ""
    layers: tuple[str, ...] = ()
    mends: tuple[Mend, ...] = ()


@dataclass(frozen=True)
class Checked:
    """All findings, the gravest first. may_run: nothing blocks the job; loads: nothing blocks `runtime`."""

    findings: tuple[Finding, ...]
    runtime: str
    may_run: bool
    loads: bool


@dataclass(frozen=True)
class LayerCompressed:
    """One finished layer. sqnr_db is None for exact results (no error) or weights without energy.

    output_error: squared error of the layer's outputs on calibration text over their energy; None where it was not
    measured. notes: what the solver did and every departure from what was asked, as phrases.
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
    warnings: tuple[str, ...] = ()
    out: str = ""
    target: str = ""
    dense: str = ""


@dataclass(frozen=True)
class Evaluation:
    """Judged on held-out text. kl_* in nats per token; None without an original to compare with.

    weight_bytes: of the checkpoint as stored. peak_rss_bytes: of the process while it was judged, for which every
    layer is decoded; what a compressed model takes while it runs is in `Timing`. *_against: the same of the original.
    """

    source: str
    perplexity: float
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

    machine:   whose times these are, in words; foreign when that is not this machine.
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
    foreign: bool = False
    doubt: float = 0.1

    @property
    def speed_up(self) -> Estimate:
        """Before ÷ after. What slows the machine slows both, so its range is narrower than theirs."""
        after = self.after_ms.value
        value = self.before_ms.value / after if after > 0 else 1.0
        return Estimate(value, value / (1 + self.doubt), value * (1 + self.doubt))


@dataclass(frozen=True)
class LayerCosts:
    """≈ milliseconds that each treatment of each layer takes of one decoding step, under the conditions asked for.

    tags:         of the treatments, in the order asked. milliseconds: float64 [layers, treatments].
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
    foreign: bool
    key: str
    weight_bytes: Counts
    batch: int = 1
    context: int = 32


@dataclass(frozen=True)
class LinearTime:
    """Milliseconds of one linear layer [rows, columns] under a treatment (tag), for `tokens` inputs at once.

    dtype: of the model around it. weight_bytes: what one call reads. ms, low_ms, high_ms: median, 10th and 90th
    percentile.
    """

    route: str
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
class Generation:
    """Generated tokens as text pieces, and the log-probability the model gave to each."""

    pieces: tuple[str, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Generations:
    """Both texts; `diverges_at` is the index of the first differing token, None when all are alike."""

    prompt: str
    original: Generation
    compressed: Generation
    diverges_at: int | None


@dataclass(frozen=True)
class Exported:
    out: str
    target: str
    bytes_on_disk: int
    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ready:
    """The engine is warm. device: what jobs run on, in words."""

    device: str
    threads: int
    memory_bytes: int


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


Result = (
    LayersOpened
    | Opened
    | Planned
    | Looked
    | LookedMap
    | LookedChannels
    | SensitivityCell
    | Sensitivity
    | WhatIfAnswer
    | Allocated
    | Checked
    | LayerCompressed
    | Run
    | Evaluation
    | Latency
    | LatencyForecast
    | LayerCosts
    | MachineProfile
    | JobForecast
    | Generations
    | Exported
    | Ready
)
