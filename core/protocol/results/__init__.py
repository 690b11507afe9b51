"""What the core answers. Plain frozen records; arrays are numpy."""

from __future__ import annotations

from core.protocol.results.allocation import Allocated, Alternatives, Front
from core.protocol.results.basis import USUAL_CONTEXT, Counts, Estimate, Floats, Floats32
from core.protocol.results.checking import Checked, Finding, Mend
from core.protocol.results.jobs import Comparison, Exported, JobForecast, LayerCompressed, Ready, Run, RunSummary
from core.protocol.results.judging import Evaluation, Generation, Generations
from core.protocol.results.latency import (
    Latency,
    LatencyForecast,
    LayerCosts,
    LinearTime,
    MachineProfile,
    RestTime,
    Timing,
)
from core.protocol.results.looking import (
    ChannelRanges,
    HeatMap,
    Histogram,
    Looked,
    LookedChannels,
    LookedMap,
    Statistics,
)
from core.protocol.results.opening import LayersOpened, Opened, Planned
from core.protocol.results.sensitivity import Sensitivity, SensitivityCell, Together, WhatIfAnswer

__all__ = [
    "USUAL_CONTEXT",
    "Allocated",
    "Alternatives",
    "ChannelRanges",
    "Checked",
    "Comparison",
    "Counts",
    "Estimate",
    "Evaluation",
    "Exported",
    "Finding",
    "Floats",
    "Floats32",
    "Front",
    "Generation",
    "Generations",
    "HeatMap",
    "Histogram",
    "JobForecast",
    "Latency",
    "LatencyForecast",
    "LayerCompressed",
    "LayerCosts",
    "LayersOpened",
    "LinearTime",
    "Looked",
    "LookedChannels",
    "LookedMap",
    "MachineProfile",
    "Mend",
    "Opened",
    "Planned",
    "Ready",
    "RestTime",
    "Result",
    "Run",
    "RunSummary",
    "Sensitivity",
    "SensitivityCell",
    "Statistics",
    "Timing",
    "Together",
    "WhatIfAnswer",
]

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
