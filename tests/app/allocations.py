"""Allocations as the engine would answer them, found in the plainest way: each layer the best that one price pays."""

import numpy as np

from benchvise.core.engine import planned
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.budget import BITS
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.protocol.results import (
    Allocated,
    Alternatives,
    Estimate,
    Front,
    JointMeasurement,
    Sensitivity,
    SensitivityCell,
)
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import KEEP, Treatment

RUNGS = tuple(Treatment(Integer(bits=bits, group_size=32)) for bits in (2, 4, 8))


def kl_increase_of(place, treatment):
    return 0.0 if treatment.keeps else 0.1 * (place + 1) * 4.0**-treatment.scheme.bits


def linears(checkpoint):
    return [layer for layer in checkpoint.layers if layer.kind == "linear"]


def sensitivity(checkpoint, key="measured"):
    """Every linear layer on every rung; all layers at 4 bits were measured together."""
    cells = tuple(
        SensitivityCell(
            layer.name, rung.tag, kl_increase_of(place, rung), output_error=0.01, sqnr_db=20.0, key=rung.key
        )
        for place, layer in enumerate(linears(checkpoint))
        for rung in RUNGS
    )
    added = sum(cell.kl for cell in cells if cell.treatment == RUNGS[1].tag)
    return Sensitivity(cells, 512, 1.0, key=key, joint_effects=(JointMeasurement(added, 1.1 * added),))


def measurement(checkpoint):
    return MeasureSensitivity(checkpoint.path, "", RUNGS)


def allocate(checkpoint, request):
    """The answer to `request`: the finest rung whose bits per weight the budget pays, for all layers."""
    layers = linears(checkpoint)
    options = (*request.candidates, KEEP)
    locked = dict(request.locked)
    sizes = np.array([[_bytes(option, layer) for option in options] for layer in layers])
    kl_increase = np.array([[kl_increase_of(place, option) for option in options] for place in range(len(layers))])
    bits = 8 * sizes.sum(axis=0) / sum(layer.parameters for layer in layers)
    target = request.budget.value if request.budget.kind == BITS else 4.25
    affordable = [place for place in range(len(options)) if bits[place] <= target + 1e-9]
    best = max(affordable, key=lambda place: bits[place]) if affordable else int(np.argmin(bits))
    choice = np.full(len(layers), best, np.int32)
    treatments = [locked.get(layer.name, options[best]) for layer in layers]
    recipe = treat(request.base_recipe, layers, treatments)
    rows = np.arange(len(layers))
    order = np.argsort(bits)
    beside = 0 if request.budget.kind == BITS else checkpoint.nbytes - sum(layer.nbytes for layer in layers)
    cost = sizes.sum(axis=0)[order] + beside
    finer = int(order[min(list(order).index(best) + 1, len(order) - 1)])
    coarser = int(order[max(list(order).index(best) - 1, 0)])
    total = float(kl_increase[rows, choice].sum())
    return Allocated(
        tuple(layer.name for layer in layers),
        tuple(option.tag for option in options),
        tuple(option.key for option in options),
        choice,
        recipe,
        planned(make_plan(checkpoint, recipe, allow_empty=True)),
        Estimate(total, 0.8 * total, 1.3 * total),
        float(sizes[:, best].sum() + beside),
        1e-8,
        kl_increase[rows, choice],
        Front("bytes", cost.astype(float), kl_increase.sum(axis=0)[order]),
        _others(finer, best, sizes, kl_increase),
        _others(coarser, best, sizes, kl_increase),
    )


def _bytes(option, layer):
    return layer.nbytes if option.keeps else fitted(option, layer)[0].bytes_after(layer)


def _others(other, best, sizes, kl_increase):
    choice = np.full(len(sizes), other if other != best else -1, np.int32)
    return Alternatives(
        choice, (sizes[:, other] - sizes[:, best]).astype(float), kl_increase[:, other] - kl_increase[:, best]
    )
