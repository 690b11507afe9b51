"""The kinds of budget as the window shows them: names, units, and between which values a slider moves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.language import message, tr
from benchvise.core.protocol.budget import BITS, BYTES, DIVERGENCE, LATENCY, MEMORY, Budget
from benchvise.core.protocol.results import Allocated, Front, Planned
from benchvise.core.text import byte_text, kl_text, number_text, plural

STEPS = 1000
_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@dataclass(frozen=True)
class BudgetKind:
    """What a budget limits. Equal steps of the slider are equal ratios, so that few bits get as much of it as many."""

    key: str
    title: str
    help: str


KINDS = (
    BudgetKind(
        BITS,
        message("Bits in allocated layers"),
        message("Mean over the layers that are allocated, scales and zero points counted"),
    ),
    BudgetKind(BYTES, message("Size"), message("Bytes of the whole checkpoint")),
    BudgetKind(
        LATENCY,
        message("Decode time"),
        message("Milliseconds per step of decoding, for the sequences, tokens and machine chosen beside it"),
    ),
    BudgetKind(MEMORY, message("Memory at context"), message("Bytes in memory while decoding after that many tokens")),
    BudgetKind(
        DIVERGENCE, message("Divergence"), message("KL from the original at the model's output, nats per token")
    ),
)


@dataclass(frozen=True)
class Choices:
    """What may be chosen: exact bytes [treatments, layers], the last row for layers that stay as they are.

    rest_bytes: of everything that is not allocated, as the plan has it.
    """

    bytes_of: NDArray[np.int64]
    parameters: int
    rest_bytes: int

    @property
    def span(self) -> tuple[int, int]:
        """Least and greatest bytes of the layers that are allocated."""
        return int(self.bytes_of.min(axis=0).sum()), int(self.bytes_of.max(axis=0).sum())

    def bits(self, nbytes: float) -> float:
        return 8 * nbytes / self.parameters if self.parameters else 0.0


def choices_of(
    checkpoint: Checkpoint, layers: Sequence[int], nbytes: Sequence[NDArray[np.int64]], plan: Planned | None
) -> Choices:
    """nbytes: for each treatment that may be chosen, the engine's int64 [layers]."""
    chosen = [checkpoint.layers[index] for index in layers]
    kept = np.array([layer.nbytes for layer in chosen], np.int64)
    table = np.stack([*nbytes, kept])
    if plan is None:
        rest = checkpoint.nbytes - int(kept.sum())
    else:
        rest = int(plan.total_after - plan.bytes_after[list(layers)].sum())
    return Choices(table, sum(layer.parameters for layer in chosen), rest)


def unit_of(kind: str, largest: float) -> tuple[str, float]:
    """(unit, size of one in the budget's own unit)."""
    if kind in (BYTES, MEMORY):
        return next(((unit, size) for unit, size in _SIZES if largest >= size), ("B", 1.0))
    return {BITS: "bits", LATENCY: "ms"}.get(kind, "nats"), 1.0


def range_of(
    kind: str, choices: Choices, allocated: Allocated | None, kl_increases: Iterable[float], cache_bytes: int = 0
) -> tuple[float, float]:
    """Between which budgets of this kind something changes; of times only a forecast knows.

    kl_increases: KL of single cells, where no front is known. cache_bytes: what decoding keeps in memory beside
    the weights.
    """
    low, high = choices.span
    if kind == BITS:
        return choices.bits(low), choices.bits(high)
    if kind in (BYTES, MEMORY):
        more = cache_bytes if kind == MEMORY else 0
        return choices.rest_bytes + low + more, choices.rest_bytes + high + more
    known = allocated.front if allocated is not None else None
    values = [value for value in (known.kl.tolist() if known is not None else kl_increases) if 0 < value < math.inf]
    return (min(values), max(values)) if values else (1e-4, 1.0)


def budget_title(budget: Budget) -> str:
    """A budget in undo steps: "10.7 MB", "4.25 bits", "28.1 MB at 4,096 tokens", "12.5 ms", "KL 0.0182"."""
    if budget.kind == BYTES:
        return byte_text(budget.value)
    if budget.kind == MEMORY:
        return tr("{byte} at {tokens}", byte=byte_text(budget.value), tokens=plural(budget.context, "token"))
    if budget.kind == DIVERGENCE:
        return tr("KL {kl}", kl=kl_text(budget.value))
    return f"{number_text(budget.value)} {unit_of(budget.kind, budget.value)[0]}"


def front_of(allocated: Allocated) -> Front:
    """The front with bytes of the whole checkpoint as cost, whatever beside weights the budget had to pay for."""
    front = allocated.front
    if front.unit != "bytes":
        return front
    return replace(front, cost=front.cost + (allocated.planned.total_after - allocated.cost))


def equivalent(kind: str, allocated: Allocated, choices: Choices, context: tuple[int, int]) -> Budget | None:
    """What an allocation amounts to as a budget of a kind; None for times, which only a forecast of costs knows.

    context: tokens, and the bytes that they take in memory beside the weights.
    """
    nbytes = allocated.planned.total_after
    if kind == BITS:
        return Budget(BITS, choices.bits(nbytes - choices.rest_bytes))
    if kind == BYTES:
        return Budget(BYTES, float(nbytes))
    if kind == MEMORY:
        return Budget(MEMORY, float(nbytes + context[1]), context[0])
    return Budget(DIVERGENCE, allocated.kl.value) if kind == DIVERGENCE and allocated.kl.value > 0 else None


def budget_at(kind: str, place: int, allocated: Allocated, choices: Choices, context: tuple[int, int]) -> Budget:
    """The budget that leads to point `place` of the front, in the kind that is chosen where the front knows it.

    context: tokens, and the bytes that they take in memory beside the weights.
    """
    front = front_of(allocated)
    cost, kl = float(front.cost[place]), float(front.kl[place])
    if kind == DIVERGENCE and kl > 0:
        return Budget(DIVERGENCE, kl)
    if front.unit == "ms":
        return Budget(LATENCY, cost)
    if kind == BITS:
        return Budget(BITS, choices.bits(cost - choices.rest_bytes))
    if kind == MEMORY:
        return Budget(MEMORY, cost + context[1], context[0])
    return Budget(BYTES, cost)


def step_of(value: float, low: float, high: float) -> int:
    """The slider's step for a value, 0 to STEPS."""
    if not 0 < low < high:
        return 0
    share = math.log(max(value, low) / low) / math.log(high / low)
    return round(STEPS * min(1.0, share))


def value_at(step: int, low: float, high: float) -> float:
    """The value at a step of the slider; `low` where there is no range."""
    return float(low * (high / low) ** (step / STEPS)) if 0 < low < high else low
