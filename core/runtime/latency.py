"""Prefill and decode latency, measured on the kernels that the layers take, interleaved with the original."""

from __future__ import annotations

from statistics import median

import torch

from benchvise.core.errors import UserError
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import MeasureLatency
from benchvise.core.protocol.results import Latency, Timing
from benchvise.core.runtime.added_memory import AddedMemory
from benchvise.core.runtime.architecture import language_model_of
from benchvise.core.runtime.build import compute_device
from benchvise.core.runtime.decode import DecodingTimes, decode, random_prompt
from benchvise.core.runtime.machine import device_name
from benchvise.core.runtime.profile import steady
from benchvise.core.runtime.running import RunningModel, load_running
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights

WARM_UP_TOKENS = 4
MIN_REPETITIONS, MAX_REPETITIONS = 5, 25
UNSTEADY_SECONDS = 4.0
"""After so much decoding of one model no more repetitions follow the least."""


def measure_latency(request: MeasureLatency, progress: Progress) -> Latency:
    """Milliseconds to read `request.context` tokens, and per step while decoding `request.tokens` more, for
    `request.batch` sequences at once. Progress is in tokens of each; it ends early where times are steady.

    Each repetition times both models one after the other, in turns which one first, so that whatever slows the machine
    meets both; the speed-up is the median of the ratios of these pairs. Raises CheckpointError when a model cannot be
    run, UserError for more tokens than it knows positions.
    """
    device = compute_device()
    weights = open_weights(request.source, request.workspace)
    opened = [weights]
    if request.against:
        opened.append(open_weights(request.against, request.workspace))
    for each in opened:
        _check_positions(each, request)
    tokens = max(1, request.tokens)
    most = request.repetitions or MAX_REPETITIONS
    progress.start(len(opened) * (most * tokens + WARM_UP_TOKENS), "tokens")
    vocabulary = int(language_model_of(weights.checkpoint).config.get_text_config().vocab_size)
    batch = max(1, request.batch)
    prompt = random_prompt(vocabulary, request.context, device, batch)
    models: list[RunningModel] = []
    peaks: list[int] = []
    for each in opened:
        with AddedMemory(device) as added:
            models.append(load_running(each, device, progress))
            decode(models[-1].model, prompt, WARM_UP_TOKENS)
        peaks.append(added.bytes)
        progress.advance(WARM_UP_TOKENS)
    _note(models, opened, progress)
    times: list[list[DecodingTimes]] = [[] for _ in models]
    for repetition in range(most):
        if not request.repetitions and _enough(times, tokens):
            break
        order = range(len(models)) if repetition % 2 == 0 else reversed(range(len(models)))
        for index in order:
            times[index].append(decode(models[index].model, prompt, tokens))
            progress.advance(tokens)
    timings = [timing_of(*each, batch) for each in zip(models, times, peaks, strict=True)]
    steps = [[each.step_ms for each in decoded] for decoded in times]
    return Latency(
        source=request.source,
        device=device_name(device),
        threads=torch.get_num_threads(),
        context=request.context,
        tokens=tokens,
        timing=timings[0],
        against=timings[1] if request.against else None,
        speed_up=speed_up(steps[1], steps[0]) if request.against else None,
        batch=batch,
    )


def _enough(times: list[list[DecodingTimes]], tokens: int) -> bool:
    """Whether further repetitions would tell little that is new."""
    if len(times[0]) < MIN_REPETITIONS:
        return False
    steps = [[each.step_ms for each in found] for found in times]
    seconds = max(sum(found) for found in steps) * tokens / 1000
    return seconds >= UNSTEADY_SECONDS or all(steady(found) for found in steps)


def timing_of(running: RunningModel, decoded: list[DecodingTimes], peak_bytes: int, batch: int) -> Timing:
    """Median and extremes of one model's repetitions."""
    steps = [each.step_ms for each in decoded]
    return Timing(
        median(steps),
        min(steps),
        max(steps),
        running.weight_bytes,
        running.routes,
        running.fallbacks,
        peak_bytes,
        batch,
        median(each.prefill_ms for each in decoded),
    )


def speed_up(before: list[float], after: list[float]) -> float:
    """Median over repetitions of how many times faster the second was than the first."""
    return median(one / other for one, other in zip(before, after, strict=True))


def _check_positions(weights: Weights, request: MeasureLatency) -> None:
    limit = language_model_of(weights.checkpoint).max_positions
    if limit is not None and request.context + request.tokens > limit:
        raise UserError(
            f"{request.context} tokens of context and {request.tokens} decoded ones are more than the {limit} "
            "positions that the model knows",
            where=weights.source,
            remedy="Ask for fewer: --context and --tokens on the command line.",
        )


def _note(models: list[RunningModel], opened: list[Weights], progress: Progress) -> None:
    for running, weights in zip(models, opened, strict=True):
        ways = ", ".join(f"{count} × {route}" for route, count in running.routes)
        name = str(running.dtype).removeprefix("torch.")
        progress.note(f"{weights.source} runs in {name} as its checkpoint is stored: {ways}")
        for fallback in running.fallbacks:
            progress.note(fallback)
