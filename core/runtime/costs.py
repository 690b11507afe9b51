"""What each treatment of each layer takes of a decoding step, for choosing among treatments by latency."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict

import numpy as np

from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import RecipeError
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import ForecastCosts
from benchvise.core.protocol.results import LayerCosts
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.runtime.build import compute_device
from benchvise.core.runtime.forecast import MIN_DOUBT, REMEDY, times_for
from benchvise.core.runtime.latency_target import LatencyTarget
from benchvise.core.runtime.linear_layers import LinearModule
from benchvise.core.runtime.machine import machine_key
from benchvise.core.runtime.profiled_timing import ProfiledTiming
from benchvise.core.runtime.ranges import at_least, plus, total
from benchvise.core.settings import did_you_mean
from benchvise.core.workspace.layer_costs import has_layer_costs, layer_costs_key, load_layer_costs, save_layer_costs
from benchvise.core.workspace.machine_profiles import load_profile


def forecast_costs(request: ForecastCosts, progress: Progress) -> LayerCosts:
    """≈ milliseconds per layer and treatment, from the workspace where they were forecast before.

    A treatment that does not fit a layer, and one that no kernel takes, costs what the dense layer does. Raises
    RecipeError for layers that no linear module computes and for no treatments, and as `forecast_latency` does.
    """
    if not request.treatments:
        raise RecipeError("There is no treatment to forecast", where="treatments", remedy="Name at least one.")
    checkpoint = open_checkpoint(request.path)
    target, times = times_for(checkpoint, request.profile, request.workspace, progress)
    batch, context = max(1, request.batch), max(0, request.context)
    target.refuse_positions(context + 1, REMEDY)
    chosen = _chosen(target, request.layers, checkpoint)
    names = tuple(chosen)
    machine = _digest(request.profile) if times.other_machine else machine_key(compute_device())
    key = layer_costs_key(checkpoint_identity(checkpoint), names, request.treatments, batch, context, machine)
    if has_layer_costs(request.workspace, key):
        return load_layer_costs(request.workspace, key)
    progress.start(1, "micro-benchmarks")
    dense = target.assignment({})
    assignments = [dense, *(target.assignment(_of_all(chosen.values(), treatment)) for treatment in request.treatments)]
    step = times.decoding(assignments, batch, context)
    progress.advance(1)
    indices = [target.linears.index(linear) for linear in chosen.values()]
    others = [time for index, time in enumerate(step.linears[0]) if index not in set(indices)]
    whole = plus(step.rest, total(step.linears[0]))
    doubt = times.doubt if isinstance(times, ProfiledTiming) else MIN_DOUBT
    costs = LayerCosts(
        layers=names,
        tags=tuple(treatment.tag for treatment in request.treatments),
        milliseconds=np.array([[each[index].value for each in step.linears[1:]] for index in indices], np.float64),
        rest=at_least(plus(step.rest, total(others)), doubt),
        spread=max(doubt, (whole.high - whole.low) / 2 / whole.value if whole.value > 0 else 0.0),
        machine=times.machine,
        other_machine=times.other_machine,
        key=key,
        weight_bytes=np.array(
            [[assignment[index].weight_bytes for assignment in assignments[1:]] for index in indices], np.int64
        ),
        batch=batch,
        context=context,
        keys=tuple(treatment.key for treatment in request.treatments),
    )
    save_layer_costs(request.workspace, costs)
    return costs


def _chosen(target: LatencyTarget, names: Sequence[str], checkpoint: Checkpoint) -> dict[str, LinearModule]:
    linears = {linear.layer.name: linear for linear in target.linears if linear.layer is not None}
    wanted = names or tuple(linears)
    for name in wanted:
        if name not in linears:
            known = {layer.name for layer in checkpoint.layers}
            why = "is computed by no linear module" if name in known else "is no layer of the checkpoint"
            raise RecipeError(f"'{name}' {why}", where=checkpoint.path, remedy=did_you_mean(name, linears))
    return {name: linears[name] for name in wanted}


def _of_all(linears: Collection[LinearModule], treatment: Treatment) -> dict[str, Treatment]:
    """The treatment of each layer as it fits there."""
    found: dict[str, Treatment] = {}
    for linear in linears:
        if linear.layer is not None:
            try:
                found[linear.layer.name] = fitted(treatment, linear.layer)[0]
            except RecipeError:  # what cannot be carried out is no choice; whoever allocates says so
                found[linear.layer.name] = KEEP
    return found


def _digest(profile: str) -> str:
    """Of the profile's timings, wherever the file lies."""
    plain = asdict(load_profile(profile)) | {"file": ""}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
