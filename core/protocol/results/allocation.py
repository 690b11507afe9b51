"""A budget shared out over layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.protocol.results.basis import Estimate, Floats
from benchvise.core.protocol.results.opening import Planned
from benchvise.core.recipe.recipe import Recipe


@dataclass(frozen=True)
class Alternatives:
    """Per allocated layer its next choice in one direction, [layers] each.

    choice: index into `Allocated.tags`, -1 for none. cost: change in the budget's unit. kl: change of the predicted KL
    in nats per token.
    """

    choice: NDArray[np.int32]
    cost: Floats
    kl: Floats


@dataclass(frozen=True)
class Front:
    """The cheapest way to each quality, [points] each, cost ascending: cost in `unit` ("bytes" or "ms"), and the KL."""

    unit: str
    cost: Floats
    kl: Floats


@dataclass(frozen=True)
class CandidateSizes:
    """nbytes: int64 [treatments, layers]; a layer's own bytes where the treatment does not fit it."""

    nbytes: NDArray[np.int64]


@dataclass(frozen=True)
class Allocated:
    """A treatment for each layer within a budget.

    tags, keys: of the candidates, "keep" among them; `choice[i]` indexes them for `layers[i]`.
    recipe, planned: ready to be put in place.
    kl:        predicted at the model's output. latency_ms: of one decoded token, None when no profile was asked.
    cost:      what is used of the budget, in its own unit; `unit` is the front's.
    price:     KL per unit of cost at the margin: what the next bit of budget would bring.
    kl_increase: float64 [layers] what each layer's choice adds to the predicted KL.
    better, cheaper: each layer's next choices.
    notes:     what stood in the way or differs from the request, as sentences.
    """

    layers: tuple[str, ...]
    tags: tuple[str, ...]
    keys: tuple[str, ...]
    choice: NDArray[np.int32]
    recipe: Recipe
    planned: Planned
    kl: Estimate
    cost: float
    price: float
    kl_increase: Floats
    front: Front
    better: Alternatives
    cheaper: Alternatives
    latency_ms: Estimate | None = None
    notes: tuple[str, ...] = ()
