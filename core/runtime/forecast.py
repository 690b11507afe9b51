"""Decode latency of a recipe before it is run: micro-benchmarks of its layers, and of what is left of a step."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from core.checkpoint.open import open_checkpoint
from core.checkpoint.records import Checkpoint
from core.progress import Progress
from core.protocol.requests import ForecastLatency
from core.protocol.results import Estimate, LatencyForecast
from core.recipe.plan import make_plan
from core.recipe.recipe import KEEP, Treatment
from core.runtime.architecture import Architecture, architecture_of
from core.runtime.build import compute_device
from core.runtime.decode import decode_ms, random_prompt
from core.runtime.machine import device_name, machine_key
from core.runtime.modules import CompressedLinear
from core.runtime.places import LinearPlace, linear_places, running_dtype
from core.runtime.prepare import prepare, random_stored, refusal
from core.runtime.profile import Profile, Spread, spread_of, time_linear, working_set_bytes
from core.runtime.skeleton import skeleton
from core.workspace.workspace import Workspace

CONTEXT = 32
TOKENS = 16
REST_REPETITIONS = 7


@dataclass(frozen=True)
class Work:
    """A kind of linear layer [rows, columns] as it will be run."""

    rows: int
    columns: int
    treatment: Treatment

    def weight_bytes(self, dtype: torch.dtype) -> int:
        """About what one call reads: exact for dense layers, the scheme's storage for compressed ones."""
        if self.treatment.keeps:
            return self.rows * self.columns * dtype.itemsize
        return sum(tensor.nbytes for tensor in random_stored(self.treatment, self.rows, self.columns, dtype).values())


def forecast_latency(request: ForecastLatency, progress: Progress) -> LatencyForecast:
    """≈ milliseconds per token before and after the recipe, without reading a weight. Progress is in benchmarks.

    Raises CheckpointError when the checkpoint has no architecture that runs, RecipeError when the recipe does not fit.
    """
    device = compute_device()
    checkpoint = open_checkpoint(request.path)
    architecture = architecture_of(checkpoint)
    treatments = {row.layer.name: row.treatment for row in make_plan(checkpoint, request.recipe).treated()}
    model = architecture.on_meta()
    dtype = running_dtype(checkpoint, device)
    places = linear_places(model, checkpoint)
    before = Counter(Work(place.rows, place.columns, KEEP) for place in places)
    after, fallbacks = _after(places, treatments, device)
    bench = _Bench(Profile(Workspace(request.workspace).profile_file(), machine_key(device)), dtype, device, progress)
    progress.start(len(before) + len(after) + 1, "benchmarks")
    others = _other_bytes(model, places, dtype)
    rest = bench.rest(checkpoint, architecture)
    first, second = (bench.total(work, rest, others) for work in (before, after))
    return LatencyForecast(
        machine=device_name(device),
        before_ms=Estimate(first.median_ms, first.low_ms, first.high_ms),
        after_ms=Estimate(second.median_ms, second.low_ms, second.high_ms),
        weight_bytes_before=first.weight_bytes,
        weight_bytes_after=second.weight_bytes,
        fallbacks=fallbacks,
    )


def _after(
    places: Iterable[LinearPlace], treatments: Mapping[str, Treatment], device: torch.device
) -> tuple[Counter[Work], tuple[str, ...]]:
    work: Counter[Work] = Counter()
    reasons: Counter[str] = Counter()
    for place in places:
        treatment = treatments.get(place.layer.name, KEEP) if place.layer else KEEP
        reason = None if treatment.keeps else refusal(treatment, place.rows, place.columns, device)
        if reason is not None:
            reasons[reason] += 1
            treatment = KEEP
        work[Work(place.rows, place.columns, treatment)] += 1
    return work, tuple(f"{count} × dense: {reason}" for reason, count in reasons.most_common())


def _other_bytes(model: nn.Module, places: Iterable[LinearPlace], dtype: torch.dtype) -> int:
    """Bytes of all parameters that are no linear layer's weight: embeddings, norms, biases."""
    linear = {id(model.get_parameter(f"{place.path}.weight")) for place in places}
    return sum(p.numel() * dtype.itemsize for p in model.parameters() if id(p) not in linear)


@dataclass(frozen=True)
class _Bench:
    """Runs micro-benchmarks that the profile does not know yet."""

    profile: Profile
    dtype: torch.dtype
    device: torch.device
    progress: Progress

    def total(self, work: Counter[Work], rest: Spread, other_bytes: int) -> Spread:
        """A whole decoding step: the rest, and each kind of layer as often as there are layers of it."""
        sizes = {kind: kind.weight_bytes(self.dtype) for kind in work}
        working_set = working_set_bytes(sum(count * sizes[kind] for kind, count in work.items()))
        median, low, high, nbytes = rest.median_ms, rest.low_ms, rest.high_ms, other_bytes
        for kind, count in work.items():
            one = self._linear(kind, sizes[kind], working_set)
            median += count * one.median_ms
            low += count * one.low_ms
            high += count * one.high_ms
            nbytes += count * one.weight_bytes
            self.progress.advance(1)
        return Spread(median, low, high, nbytes)

    def rest(self, checkpoint: Checkpoint, architecture: Architecture) -> Spread:
        """What a step takes beside its linear layers: attention, norms, and the program around them."""
        config = json.dumps(checkpoint.config, sort_keys=True, default=str)
        digest = hashlib.sha256(config.encode()).hexdigest()[:16]
        rest = self.profile.get_or_measure(
            f"rest of {checkpoint.architecture} {digest} {self.dtype}", lambda: self._measure_rest(architecture)
        )
        self.progress.advance(1)
        return rest

    def _measure_rest(self, architecture: Architecture) -> Spread:
        model = skeleton(architecture, self.dtype, self.device)
        limit = architecture.max_positions or CONTEXT + TOKENS
        tokens = max(1, min(TOKENS, limit // 2))
        prompt = random_prompt(2, min(CONTEXT, max(1, limit - tokens)), self.device)
        decode_ms(model, prompt, 2)
        times: list[float] = []
        for _ in range(REST_REPETITIONS):
            self.progress.check_cancelled()
            times.append(decode_ms(model, prompt, tokens))
        return spread_of(times, 0)

    def _linear(self, work: Work, nbytes: int, working_set: int) -> Spread:
        tag = "dense" if work.treatment.keeps else work.treatment.scheme.tag
        key = f"{work.rows}×{work.columns} {tag} {self.dtype} among {working_set >> 10} KB"

        def make() -> nn.Module:
            if work.treatment.keeps:
                dense = nn.Linear(work.columns, work.rows, bias=False, dtype=self.dtype, device=self.device)
                return dense.requires_grad_(False)
            stored = random_stored(work.treatment, work.rows, work.columns, self.dtype)
            return CompressedLinear(prepare(stored, work.treatment, work.rows, work.columns, self.dtype, self.device))

        x = torch.zeros((1, 1, work.columns), dtype=self.dtype, device=self.device)
        self.progress.check_cancelled()
        return self.profile.get_or_measure(key, lambda: time_linear(make, x, nbytes, working_set))
