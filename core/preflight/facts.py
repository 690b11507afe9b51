"""What a check has to know besides recipe and headers. Plain records: who makes a check gathers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchvise.core.errors import UserError
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.protocol.results import Estimate


@dataclass(frozen=True)
class TextFound:
    """The calibration text as the job will read it. refusal: why it cannot, None when it can."""

    windows: int = 0
    window_tokens: int = 0
    refusal: UserError | None = None


@dataclass(frozen=True)
class Surprise:
    """What a run will say when it comes to it. title: what it is about, as a sentence without its full stop.

    kind: "surgery", "network", "transform", "calibration" or "learning". refuses: whether the run stops there.
    """

    kind: str
    title: str
    detail: str = ""
    layers: tuple[str, ...] = ()
    refuses: bool = False


@dataclass(frozen=True)
class RunsDense:
    """Linear layers that are compressed and run dense all the same in Benchvise's own runtime, for one reason.

    nbytes: of their weights before.
    """

    reason: str
    layers: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True)
class Facts:
    """modules: what the network's loader makes of the layers, None where that is not known.

    tried: why loaders do not take what targets would write, by the target's key, "" where they do; only what was tried.
    text: None when nothing reads any. tuning_texts: the same of each tuning step, None where it reads no other samples.

    memory_free, memory_total: of this machine, in bytes; gpu_free: of its GPU, 0 without one.
    walks: whether the job goes block by block through the network.
    own_output: whether what lies at the output may be of the run that is resumed, which compares it.
    dense: treated layers that no kernel of this machine takes; linear_bytes: of all treated linear layers, before.
    peak_bytes, seconds: forecasts of the job, None where there are none yet.
    """

    modules: NetworkModules | None = None
    tried: Mapping[str, str] = field(default_factory=dict)
    text: TextFound | None = None
    tuning_texts: tuple[TextFound | None, ...] = ()
    surprises: tuple[Surprise, ...] = ()
    dense: tuple[RunsDense, ...] = ()
    linear_bytes: int = 0
    memory_free: int = 0
    memory_total: int = 0
    gpu_free: int = 0
    peak_bytes: Estimate | None = None
    seconds: Estimate | None = None
    walks: bool = False
    own_output: bool = False
