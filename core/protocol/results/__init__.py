"""What the core answers. Plain frozen records; arrays are numpy."""

from __future__ import annotations

from benchvise.core.protocol.results.allocation import Allocated, Alternatives, CandidateSizes, Front
from benchvise.core.protocol.results.basis import DEFAULT_CONTEXT, Counts, Estimate, Floats, Floats32
from benchvise.core.protocol.results.checking import Checked, Finding, Fix
from benchvise.core.protocol.results.jobs import (
    Comparison,
    Exported,
    JobForecast,
    LayerCompressed,
    Ready,
    Run,
    RunSummary,
    TuningStep,
)
from benchvise.core.protocol.results.judging import Evaluation, Generation, Generations
from benchvise.core.protocol.results.latency import (
    Latency,
    LatencyForecast,
    LayerCosts,
    LinearTime,
    MachineProfile,
    RestTime,
    Timing,
)
from benchvise.core.protocol.results.looking import (
    ChannelRanges,
    HeatMap,
    Histogram,
    LayerDifference,
    LayersCompared,
    Looked,
    LookedChannels,
    LookedMap,
    LookedSpectrum,
    SameInBits,
    Statistics,
)
from benchvise.core.protocol.results.opening import LayersOpened, Opened, Planned
from benchvise.core.protocol.results.reports import (
    Report,
    Reported,
    ReportExport,
    ReportHistogram,
    ReportLayer,
    Reproduced,
)
from benchvise.core.protocol.results.runs import RunContent, RunList
from benchvise.core.protocol.results.sensitivity import JointMeasurement, Sensitivity, SensitivityCell, WhatIfAnswer

__all__ = [
    "DEFAULT_CONTEXT",
    "Allocated",
    "Alternatives",
    "CandidateSizes",
    "ChannelRanges",
    "Checked",
    "Comparison",
    "Counts",
    "Estimate",
    "Evaluation",
    "Exported",
    "Finding",
    "Fix",
    "Floats",
    "Floats32",
    "Front",
    "Generation",
    "Generations",
    "HeatMap",
    "Histogram",
    "JobForecast",
    "JointMeasurement",
    "Latency",
    "LatencyForecast",
    "LayerCompressed",
    "LayerCosts",
    "LayerDifference",
    "LayersCompared",
    "LayersOpened",
    "LinearTime",
    "Looked",
    "LookedChannels",
    "LookedMap",
    "LookedSpectrum",
    "MachineProfile",
    "Opened",
    "Planned",
    "Ready",
    "Report",
    "ReportExport",
    "ReportHistogram",
    "ReportLayer",
    "Reported",
    "Reproduced",
    "RestTime",
    "Result",
    "Run",
    "RunContent",
    "RunList",
    "RunSummary",
    "SameInBits",
    "Sensitivity",
    "SensitivityCell",
    "Statistics",
    "Timing",
    "TuningStep",
    "WhatIfAnswer",
]

Result = (
    LayersOpened
    | Opened
    | Planned
    | LayersCompared
    | Looked
    | LookedMap
    | LookedChannels
    | LookedSpectrum
    | SensitivityCell
    | Sensitivity
    | WhatIfAnswer
    | Allocated
    | CandidateSizes
    | Checked
    | LayerCompressed
    | TuningStep
    | Run
    | Evaluation
    | Latency
    | LatencyForecast
    | LayerCosts
    | MachineProfile
    | JobForecast
    | Generations
    | Exported
    | RunList
    | RunContent
    | Ready
    | Reported
    | Reproduced
)
