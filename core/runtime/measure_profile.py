"""A machine's profile: layers of a few sizes on every kernel, timed within small models of a common build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.kernels.availability import triton_runs_on
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import MeasureProfile
from benchvise.core.protocol.results import Estimate, LinearTime, MachineProfile, RestTime
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.recipe.treatment_text import parse_treatment_text
from benchvise.core.runtime.architecture import Architecture
from benchvise.core.runtime.build import compute_device
from benchvise.core.runtime.latency_target import KernelAssignment, LatencyTarget, described, latency_target_of
from benchvise.core.runtime.linear_layers import LinearModule, is_linear
from benchvise.core.runtime.local_timing import LocalTiming, StepTimes
from benchvise.core.runtime.machine import device_name, machine_key
from benchvise.core.runtime.micro_benchmark import QUICK, Effort
from benchvise.core.runtime.profile import Profile
from benchvise.core.runtime.profiled_timing import widths
from benchvise.core.workspace.machine_profiles import keep_profile, save_profile

CONTEXTS = {1: (32, 512), 8: (32, 128)}
"""For each number of sequences side by side."""

PROMPTS = (32, 256)
POSITIONS = 1024
HEAD_WIDTH = 64
GRID = Effort(3, 0.15, 0.3, 1.5)

_TREATMENTS = {
    False: ("int8 channel", "int4 g128", "int4 g32"),
    True: ("int8 channel", "int4 g128", "int4 g32", "int3 g128", "int2 g64"),
}
"""By whether Triton's kernels run, which read codes of any width."""


@dataclass(frozen=True)
class Build:
    """A model of the grid. hidden: width of its residual stream."""

    hidden: int
    blocks: int
    dtypes: int


BUILDS = (Build(256, 8, 2), Build(1024, 3, 2), Build(2048, 1, 1))
"""From what caches hold to what they do not."""


def measure_profile(request: MeasureProfile, progress: Progress) -> MachineProfile:
    """Time the grid, and the layers of `request.path`, on this machine. Progress is in micro-benchmarks.

    Raises CheckpointError when the checkpoint has no architecture that runs, OutputError when a file cannot be written.
    """
    device = compute_device()
    targets = list(_targets(request, device))
    tags = _TREATMENTS[triton_runs_on(device)]
    treatments = dict.fromkeys([*(parse_treatment_text(tag) for tag in tags), *request.treatments])
    survey = _Survey(tuple(treatments), QUICK if request.quick else GRID, progress)
    progress.start(len(targets) * (sum(map(len, CONTEXTS.values())) + len(PROMPTS)), "micro-benchmarks")
    linears: dict[tuple[object, ...], LinearTime] = {}
    rests: list[RestTime] = []
    for target in targets:
        for linear in survey.add(target, rests):
            shape = (linear.key, linear.dtype, linear.rows, linear.columns, linear.tokens)
            linears.setdefault(shape, linear)
    profile = MachineProfile(
        machine=request.name or device_name(device),
        key=machine_key(device),
        device=device.type,
        triton=triton_runs_on(device),
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        linears=tuple(linears.values()),
        rests=tuple(rests),
    )
    kept = keep_profile(profile, request.workspace)
    return save_profile(profile, request.out) if request.out else kept


@dataclass(frozen=True)
class _Survey:
    treatments: tuple[Treatment, ...]
    effort: Effort
    progress: Progress

    def add(self, target: LatencyTarget, rests: list[RestTime]) -> Iterator[LinearTime]:
        """Times of the target's layers under every treatment; those of the rest of its steps go to `rests`."""
        here = LocalTiming(target, Profile(None, ""), self.progress, self.effort)
        assignments = list(
            dict.fromkeys([target.assignment({}), *(self._assignment(target, each) for each in self.treatments)])
        )
        limit = target.architecture.max_positions or POSITIONS
        for batch, contexts in CONTEXTS.items():
            for context in contexts:
                if context < limit:
                    times = here.decoding(assignments, batch, context)
                    rests.append(_rest(target, times, batch, context, 0))
                self.progress.advance(1)
            yield from _linears(target, assignments, times, batch)
        for prompt in PROMPTS:
            if prompt <= limit:
                times = here.prefill(assignments, 1, prompt)
                rests.append(_rest(target, times, 1, 0, prompt))
                yield from _linears(target, assignments, times, prompt)
            self.progress.advance(1)

    @staticmethod
    def _assignment(target: LatencyTarget, treatment: Treatment) -> KernelAssignment:
        return tuple(target.work(linear, treatment) for linear in target.linears)


def _linears(
    target: LatencyTarget, assignments: Sequence[KernelAssignment], times: StepTimes, inputs: int
) -> Iterator[LinearTime]:
    for assignment, found in zip(assignments, times.linears, strict=True):
        for index, (work, time) in enumerate(zip(assignment, found, strict=True)):
            if index == target.head and target.last_alone and inputs > max(CONTEXTS):
                continue  # it was called for the last token alone
            yield LinearTime(
                work.route,
                work.key,
                work.tag,
                target.dtype_name,
                work.rows,
                work.columns,
                inputs,
                work.weight_bytes,
                *_ordered(time),
            )


def _rest(target: LatencyTarget, times: StepTimes, batch: int, context: int, prompt: int) -> RestTime:
    least = 1e-6  # of a rest that was no more than the noise of the layers
    return RestTime(
        target.digest, target.dtype_name, *widths(target), batch, context, prompt, max(least, times.rest.value)
    )


def _ordered(time: Estimate) -> tuple[float, float, float]:
    return time.value, time.low, time.high


def _targets(request: MeasureProfile, device: torch.device) -> Iterator[LatencyTarget]:
    if request.path:
        yield latency_target_of(open_checkpoint(request.path), device)
    dtypes = (torch.bfloat16, torch.float16 if device.type == "cuda" else torch.float32)
    for build in BUILDS[:2] if request.quick else BUILDS:
        for dtype in dtypes[: build.dtypes]:
            yield _standard(build, dtype, device)


def _standard(build: Build, dtype: torch.dtype, device: torch.device) -> LatencyTarget:
    heads = build.hidden // HEAD_WIDTH
    config = LlamaConfig(
        hidden_size=build.hidden,
        intermediate_size=3 * build.hidden,
        num_hidden_layers=build.blocks,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        vocab_size=16 * build.hidden,
        max_position_embeddings=POSITIONS,
    )
    architecture = Architecture(config, LlamaForCausalLM)
    model = architecture.on_meta()
    linears = [
        LinearModule(path, module.out_features, module.in_features, None)
        for path, module in model.named_modules()
        if is_linear(module) and isinstance(module, torch.nn.Linear)
    ]
    return described(architecture, model, linears, dtype, device, f"standard {build.hidden} × {build.blocks}")
