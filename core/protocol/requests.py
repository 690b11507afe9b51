"""What can be asked of the core. Plain frozen records: they cross a process boundary.

`source` names a folder, a file, or a run of the workspace ("run:ID"). `text` is a path to .txt, .jsonl or .json, or ""
for the shipped text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.surgery import Surgery
from benchvise.core.protocol.budget import Budget
from benchvise.core.protocol.results import DEFAULT_CONTEXT
from benchvise.core.recipe.recipe import Recipe, Treatment


@dataclass(frozen=True)
class Open:
    """Open a checkpoint, headers first. Answered by `Opened`, layers in `LayersOpened` parts before it."""

    path: str


@dataclass(frozen=True)
class MakePlan:
    """Resolve a recipe without reading weights. Answered by `Planned`."""

    path: str
    recipe: Recipe


@dataclass(frozen=True)
class Look:
    """Exact histogram and statistics of a layer. Answered by `Looked`.

    path: a checkpoint, or a finished run ("run:ID"), whose layers are those that its surgery left.
    after: a treatment to try on the layer, a finished run ("run:ID"), or None for the weight alone.
    surgery: what is looked at is what these would leave of the layer, which goes by its name in the checkpoint.
    bounds: range of values to histogram, None for all of them.
    """

    path: str
    layer: str
    bins: int = 256
    bounds: tuple[float, float] | None = None
    after: Treatment | str | None = None
    workspace: str = ""
    surgery: tuple[Surgery, ...] = ()


@dataclass(frozen=True)
class LookMap:
    """Heat map of the weight, and of the error when `after` is given. Answered by `LookedMap`.

    surgery: as in `Look`.
    """

    path: str
    layer: str
    after: Treatment | str | None = None
    max_rows: int = 512
    max_columns: int = 512
    workspace: str = ""
    surgery: tuple[Surgery, ...] = ()


@dataclass(frozen=True)
class LookChannels:
    """Ranges per output row and input column. Answered by `LookedChannels`."""

    path: str
    layer: str
    workspace: str = ""


@dataclass(frozen=True)
class LookSpectrum:
    """Singular values of the weight, and what each rank keeps. Answered by `LookedSpectrum`.

    estimate: also the KL that each rank adds, by one backward pass of the whole network over `calibration`.
    """

    path: str
    layer: str
    estimate: bool = False
    calibration: Calibration = field(default_factory=lambda: Calibration(windows=8))


@dataclass(frozen=True)
class MeasureSensitivity:
    """KL at the output for each layer × treatment. Partial results: `SensitivityCell`. Answered by `Sensitivity`.

    layers:  names; empty for every linear layer.
    method:  "enable_one" (that layer alone is treated), "disable_one" (all are treated, and what sparing that layer
             wins back is counted), "fisher" (one backward pass and second moments estimate it), or "auto": fisher for
             all, then enable_one as long as `seconds` allow, the most damaging cells first.
    correct: also measure what several layers treated at once do, which corrects sums of single KL increases.
    calibration, seed: what solvers that learn from activations are shown.
    """

    path: str
    text: str
    treatments: tuple[Treatment, ...]
    layers: tuple[str, ...] = ()
    windows: int = 4
    window_tokens: int = 128
    workspace: str = ""
    method: str = "enable_one"
    seconds: float = 60.0
    correct: bool = False
    calibration: Calibration = field(default_factory=Calibration)
    seed: int = 0


@dataclass(frozen=True)
class KnownSensitivity:
    """The newest measurement that the workspace keeps of the checkpoint as it is now; nothing is measured.

    Answered by `Sensitivity`: all cells cached; without cells and key when nothing is known.
    """

    path: str
    workspace: str = ""


@dataclass(frozen=True)
class WhatIf:
    """One other treatment for one layer, the recipe untouched. Answered by `WhatIfAnswer` within about a second."""

    path: str
    layer: str
    treatment: Treatment
    text: str = ""
    windows: int = 4
    window_tokens: int = 128
    workspace: str = ""
    calibration: Calibration = field(default_factory=Calibration)
    seed: int = 0


@dataclass(frozen=True)
class Allocate:
    """The best treatment for each layer within a budget. Answered by `Allocated`, in milliseconds after the first.

    base_recipe: what other layers get, and calibration, transforms and polish.
    sensitivity: `Sensitivity.key` of the measurement that counts.
    candidates:  the treatments to choose from; to keep a layer is always one more.
    layers:      names; empty for all that were measured.
    locked:      (layer name, its treatment) that stay as they are.
    costs:       `LayerCosts.key` of the times that count, for a budget of time.
    fused:       layers that runtimes compute in one piece (query, key and value; gate and up) get the same treatment.
    """

    path: str
    base_recipe: Recipe
    sensitivity: str
    candidates: tuple[Treatment, ...]
    budget: Budget
    layers: tuple[str, ...] = ()
    locked: tuple[tuple[str, Treatment], ...] = ()
    fused: bool = False
    costs: str = ""
    workspace: str = ""


@dataclass(frozen=True)
class CheckRecipe:
    """What a run of the recipe would meet, before it is started. Answered by `Checked`.

    path:    the checkpoint; "" for the reference model, which has no files.
    target:  the export target the result is meant for; runtime: who is to load it ("vllm", …), "" for nobody yet.
    out:     a folder that is to be written, "" for none.
    resume:  whether an interrupted run is resumed, which may have written `out` already.
    cluster: as in `Compress`.
    """

    path: str
    recipe: Recipe
    target: str = "auto"
    runtime: str = ""
    out: str = ""
    workspace: str = ""
    resume: bool = False
    cluster: str = ""


@dataclass(frozen=True)
class Compress:
    """Carry out a recipe. Partial results: `LayerCompressed` and `TuningStep`. Answered by `Run`.

    out: also export to this folder when finished ("" for none); `target` is an export target or "auto".
    dense: beside `out`, a folder for the same layers written dense, when `target` packs them; "" for none.
    resume: take up finished layers of an interrupted run instead of computing them again.
    cluster: where layers that stand for themselves are computed: "" for this process, "auto" for the Ray cluster of
             this machine, else a cluster's address. The bytes are the same.
    """

    path: str
    recipe: Recipe
    workspace: str = ""
    out: str = ""
    target: str = "auto"
    resume: bool = False
    dense: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class Evaluate:
    """Perplexity, and against an original the divergence. Answered by `Evaluation`."""

    source: str
    text: str
    against: str = ""
    windows: int = 48
    window_tokens: int = 256
    workspace: str = ""


@dataclass(frozen=True)
class MeasureLatency:
    """Prefill and decode latency on the kernels that fit, interleaved with `against` when given. Answered by `Latency`.

    batch: sequences side by side. context: tokens of each that are read in before the first is decoded.
    repetitions: 0 for at least five, and more where times are unsteady.
    """

    source: str
    against: str = ""
    tokens: int = 32
    repetitions: int = 0
    context: int = DEFAULT_CONTEXT
    workspace: str = ""
    batch: int = 1


@dataclass(frozen=True)
class ForecastLatency:
    """Latency of a recipe from benchmarks of the kernels that would run. Answered by `LatencyForecast`.

    batch:   sequences side by side. context: tokens of each before the one that is decoded.
    prompt:  tokens of each whose reading in (prefill) is forecast too; 0 for none.
    profile: a file that `benchvise profile` wrote, of another machine; "" for this machine.
    """

    path: str
    recipe: Recipe
    workspace: str = ""
    batch: int = 1
    context: int = DEFAULT_CONTEXT
    prompt: int = 0
    profile: str = ""


@dataclass(frozen=True)
class ForecastCosts:
    """What each treatment of each layer takes of a decoding step. Answered by `LayerCosts`, which the workspace keeps.

    layers: names; empty for every layer that a linear module of the model computes. The others are as in
    `ForecastLatency`.
    """

    path: str
    treatments: tuple[Treatment, ...]
    layers: tuple[str, ...] = ()
    batch: int = 1
    context: int = DEFAULT_CONTEXT
    profile: str = ""
    workspace: str = ""


@dataclass(frozen=True)
class MeasureProfile:
    """Benchmarks of this machine's kernels, as a file that forecasts elsewhere can read. Answered by `MachineProfile`.

    path:       a checkpoint whose own layers are timed too; "" for the standard grid alone.
    treatments: timed beside those of the standard grid. quick: fewer sizes, fewer repetitions.
    out:        where the file is written; "" for the workspace alone, which keeps it in any case.
    name:       what people call the machine; "" for its processor's name.
    """

    path: str = ""
    treatments: tuple[Treatment, ...] = ()
    quick: bool = False
    out: str = ""
    workspace: str = ""
    name: str = ""


@dataclass(frozen=True)
class ForecastJob:
    """Time, peak memory and disk that carrying out a recipe takes, as `Compress` would. Answered by `JobForecast`."""

    path: str
    recipe: Recipe
    out: str = ""
    target: str = "auto"
    workspace: str = ""


@dataclass(frozen=True)
class Generate:
    """Greedy text from both, token by token. Answered by `Generations`."""

    source: str
    against: str
    prompt: str
    tokens: int = 64
    workspace: str = ""


@dataclass(frozen=True)
class Export:
    """Write a run as a checkpoint that a runtime loads. Answered by `Exported`.

    run: a run id of the workspace, or a folder that `compress --out` wrote.
    """

    run: str
    target: str
    out: str
    workspace: str = ""


@dataclass(frozen=True)
class CompareLayers:
    """Two checkpoints or runs side by side, layer by layer. Answered by `LayersCompared`.

    layer: whose differences are counted in `bins` bins too, "" for none.
    """

    source: str
    against: str
    layer: str = ""
    bins: int = 256
    workspace: str = ""


@dataclass(frozen=True)
class Convert:
    """Write a checkpoint in another format, with the values it has. Answered by `Exported`.

    path: any checkpoint that opens, compressed or not; target: a key of an export target.
    """

    path: str
    target: str
    out: str


@dataclass(frozen=True)
class MakeReport:
    """Say what a run made of what, with every measurement that is kept of it. Answered by `Reported`.

    form: "html", "json" or "markdown"; out: a file to write it to, which must not exist, "" for none.
    prompt: the beginning of a text that both models continue, "" for none.
    """

    run: str
    form: str = "html"
    out: str = ""
    prompt: str = ""
    workspace: str = ""


@dataclass(frozen=True)
class Reproduce:
    """Carry out the recipe of a report again, in a workspace of its own, and compare hashes. Answered by `Reproduced`.

    report: a report as HTML or JSON; path: the checkpoint, "" for that of the report's run in the workspace; text: the
    calibration text, "" likewise.
    """

    report: str
    path: str = ""
    text: str = ""
    workspace: str = ""


@dataclass(frozen=True)
class SizeCandidates:
    """Exact bytes of layers under treatments, from headers alone. Answered by `CandidateSizes`.

    layers: names, in the order of the answer.
    """

    path: str
    layers: tuple[str, ...]
    treatments: tuple[Treatment, ...]


@dataclass(frozen=True)
class ListRuns:
    """Every run of a workspace with what was measured on it. Answered by `RunList`."""

    workspace: str = ""


@dataclass(frozen=True)
class ReadRun:
    """The recipe of one run and its finished layers; reads no weights. Answered by `RunContent`."""

    run: str
    workspace: str = ""


@dataclass(frozen=True)
class WarmUp:
    """Load what the first job would otherwise wait for. Answered by `Ready`."""


Request = (
    Open
    | MakePlan
    | Look
    | LookMap
    | LookChannels
    | LookSpectrum
    | MeasureSensitivity
    | KnownSensitivity
    | WhatIf
    | Allocate
    | CheckRecipe
    | Compress
    | Evaluate
    | MeasureLatency
    | ForecastLatency
    | ForecastCosts
    | MeasureProfile
    | ForecastJob
    | Generate
    | Export
    | Convert
    | CompareLayers
    | MakeReport
    | Reproduce
    | SizeCandidates
    | ListRuns
    | ReadRun
    | WarmUp
)

JOBS = (
    MeasureSensitivity,
    Compress,
    Evaluate,
    MeasureLatency,
    ForecastLatency,
    ForecastCosts,
    MeasureProfile,
    ForecastJob,
    Generate,
    Export,
    Convert,
    CompareLayers,
    MakeReport,
    Reproduce,
)
"""Requests that queue one behind the other; all others are answered beside a running job."""

READS_WEIGHTS = (Look, LookMap, LookChannels, LookSpectrum, WhatIf)
"""Requests that read weights or text, which may take seconds: a queue of their own, so nothing quick waits for them."""
