"""A checkpoint or a run as it is run for speed: compressed layers on their kernels, the others as they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from benchvise.core.checkpoint.records import Layer
from benchvise.core.progress import Progress
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.dense_layers import FUSED
from benchvise.core.runtime.linear_layers import (
    LinearModule,
    linear_modules,
    parameter_bytes,
    running_dtype,
    set_module,
)
from benchvise.core.runtime.modules import CompressedLinear, bias_of
from benchvise.core.runtime.prepare import dense_route, prepare, reads_codes, refusal
from benchvise.core.runtime.quantised_inputs import quantiser_of
from benchvise.core.weights.weights import Weights


@dataclass(frozen=True)
class RunningModel:
    """A model ready to decode.

    routes:    how many linear layers take which way, most frequent first.
    fallbacks: why compressed layers run dense all the same, as sentences.
    """

    model: nn.Module
    dtype: torch.dtype
    weight_bytes: int
    routes: tuple[tuple[str, int], ...]
    fallbacks: tuple[str, ...]


def load_running(weights: Weights, device: torch.device, progress: Progress) -> RunningModel:
    """Load `weights` for decoding; layers with integer codes or factors are never decoded where a kernel takes them.

    Raises CheckpointError as `load_model` does.
    """
    dtype = running_dtype(weights.checkpoint, device)
    places = linear_modules(architecture_of(weights.checkpoint).on_meta(), weights.checkpoint)
    chosen, fallbacks = _choose(places, weights, device)
    names = {place.layer.name for place in chosen if place.layer is not None}
    model = load_model(weights, dtype=dtype, device=device, progress=progress, placeholders=names)
    routes: Counter[str] = Counter()
    compressed_bytes = 0
    for place in chosen:
        progress.check_cancelled()
        module = model.get_submodule(place.path)
        layer = _layer(place)
        stored, treatment = weights.stored(layer), weights.treatment(layer)
        prepared = prepare(stored, treatment, place.rows, place.columns, dtype, device)
        compressed = CompressedLinear(prepared, bias_of(module))
        quantiser = quantiser_of(weights, layer, device)
        if quantiser is not None:
            compressed.register_forward_pre_hook(quantiser)
        set_module(model, place.path, compressed)
        routes[prepared.route.kind.value] += 1
        compressed_bytes += prepared.nbytes
    routes[dense_route(dtype)] += len(places) - len(chosen)
    return RunningModel(
        model,
        dtype,
        compressed_bytes + parameter_bytes([model]),
        tuple((route, count) for route, count in routes.most_common() if count),
        fallbacks,
    )


def _choose(
    places: tuple[LinearModule, ...], weights: Weights, device: torch.device
) -> tuple[list[LinearModule], tuple[str, ...]]:
    """The places that a kernel takes, and why it takes no others."""
    chosen: list[LinearModule] = []
    reasons: Counter[str] = Counter()
    placed = {place.layer.name for place in places if place.layer is not None}
    for place in places:
        if place.layer is None or weights.treatment(place.layer).keeps:
            continue
        reason = refusal(weights.treatment(place.layer), place.columns, device)
        if reason is None:
            chosen.append(place)
        else:
            reasons[reason] += 1
    for layer in weights.checkpoint.layers:
        if reads_codes(weights.treatment(layer)) and layer.name not in placed:
            reasons[_not_a_place(layer)] += 1
    fallbacks = [f"{count} × dense: {reason}" for reason, count in reasons.most_common()]
    rounded = sum(weights.treatment(layer).activations is not None for layer in weights.checkpoint.layers)
    if rounded:
        fallbacks.append(f"{rounded} × inputs rounded to 8 bits and back: no kernel here multiplies 8-bit inputs")
    return chosen, tuple(fallbacks)


def _not_a_place(layer: Layer) -> str:
    if layer.kind == "embedding":
        shared = f", and {', '.join(layer.tied)} shares its weight" if layer.tied else ""
        return f"an embedding is looked up, not multiplied{shared}"
    return FUSED


def _layer(place: LinearModule) -> Layer:
    if place.layer is None:
        raise ValueError(f"{place.path} has no layer of its own")
    return place.layer
