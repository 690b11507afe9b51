"""Latency of a recipe before it is run: its layers timed with random weights, and what is left of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import ForecastLatency
from benchvise.core.protocol.results import Estimate, LatencyForecast
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.runtime.build import compute_device
from benchvise.core.runtime.latency_target import LatencyTarget, latency_target_of
from benchvise.core.runtime.local_timing import LocalTiming, StepTimes
from benchvise.core.runtime.machine import machine_key
from benchvise.core.runtime.profile import Profile
from benchvise.core.runtime.profiled_timing import ProfiledTiming, latency_target_elsewhere
from benchvise.core.runtime.ranges import at_least, plus, total
from benchvise.core.workspace.machine_profiles import load_profile
from benchvise.core.workspace.workspace import Workspace

MIN_DOUBT = LatencyForecast.doubt
"""What forecasts on this machine were seen to be off by when nothing disturbed it; no range is narrower."""

REMEDY = "Ask for a shorter context or prompt."


def forecast_latency(request: ForecastLatency, progress: Progress) -> LatencyForecast:
    """≈ milliseconds before and after the recipe, without reading a weight. Progress is in micro-benchmarks.

    Raises CheckpointError when the checkpoint has no architecture that runs, RecipeError when the recipe does not fit,
    UserError for more tokens than the model knows positions and for a profile that cannot be read.
    """
    checkpoint = open_checkpoint(request.path)
    treatments = {row.layer.name: row.treatment for row in make_plan(checkpoint, request.recipe).treated_rows}
    target, times = times_for(checkpoint, request.profile, request.workspace, progress)
    batch, context, prompt = max(1, request.batch), max(0, request.context), max(0, request.prompt)
    target.refuse_positions(max(context + 1, prompt), REMEDY)
    assignments = target.assignment({}), target.assignment(treatments)
    progress.start(1 + bool(prompt), "micro-benchmarks")
    before, after = _sums(times.decoding(assignments, batch, context), times)
    progress.advance(1)
    first: tuple[Estimate | None, ...] = (None, None)
    if prompt:
        first = _sums(times.prefill(assignments, batch, prompt), times)
        progress.advance(1)
    return LatencyForecast(
        machine=times.machine,
        before_ms=before,
        after_ms=after,
        weight_bytes_before=target.weight_bytes(assignments[0]),
        weight_bytes_after=target.weight_bytes(assignments[1]),
        fallbacks=_fallbacks(target, treatments),
        batch=batch,
        context=context,
        prompt=prompt,
        prefill_before_ms=first[0],
        prefill_after_ms=first[1],
        other_machine=times.other_machine,
        doubt=_doubt(times),
    )


def times_for(
    checkpoint: Checkpoint, profile: str, workspace: str, progress: Progress
) -> tuple[LatencyTarget, LocalTiming | ProfiledTiming]:
    """The checkpoint's model and its times: on this machine, or on that of a profile, which may turn out to be this."""
    device = compute_device()
    found = load_profile(profile) if profile else None
    if found is not None and found.key != machine_key(device):
        target = latency_target_elsewhere(checkpoint, found)
        return target, ProfiledTiming(target, found)
    target = latency_target_of(checkpoint, device)
    return target, LocalTiming(target, Profile(Workspace(workspace).profile_file(), machine_key(device)), progress)


def _sums(times: StepTimes, machine: LocalTiming | ProfiledTiming) -> tuple[Estimate, ...]:
    return tuple(at_least(plus(times.rest, total(linears)), _doubt(machine)) for linears in times.linears)


def _doubt(machine: LocalTiming | ProfiledTiming) -> float:
    return machine.doubt if isinstance(machine, ProfiledTiming) else MIN_DOUBT


def _fallbacks(target: LatencyTarget, treatments: Mapping[str, Treatment]) -> tuple[str, ...]:
    reasons: Counter[str] = Counter()
    for place in target.linears:
        reason = target.refusal(place, target.treatment(place, treatments))
        if reason is not None:
            reasons[reason] += 1
    return tuple(f"{count} × dense: {reason}" for reason, count in reasons.most_common())
