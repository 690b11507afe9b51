"""What the experts of a mixture are fed: each expert's inputs, from the tokens routed to it.

The module that holds all experts is called once with all tokens and the router's choice, so that no expert can be
observed alone. Its call is taken apart here: the tokens of an expert enter its gate and up matrices, and what these
make of them, as they are at the time, enters its down matrix.

Experts that saw fewer tokens than their matrix has inputs, so that their own moments are singular, follow this rule:
  no token       the moments of all experts of the module, over every token in every expert that it was routed to;
  n tokens of c  their own moments count n/c, those of all experts the rest;
  no expert had  none: the matrix is solved from its weights alone.
Each such layer is told so in its notes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from benchvise.core.blockwise.input_hooks import InputHook, Inputs
from benchvise.core.runtime.experts import ExpertPlace
from benchvise.core.solvers.solution import InputStatistics

DOWN = "down_proj"
MOMENT_BYTES = 4 << 30
"""Moments of one hook's experts take no more, unless it is a single expert: further experts get hooks of their own."""


@dataclass(frozen=True)
class ExpertStatistics:
    """What is known of a matrix's inputs, and how that was come by where it is not the expert's own moments alone."""

    inputs: InputStatistics
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExpertHook(InputHook):
    """The inputs of some experts' matrices of one kind: gate and up, which share theirs, or down.

    members: experts, and the names of their layers.
    rest:    the name under which the hook gives the inputs of all other experts of the module.
    columns: inputs of each matrix.
    """

    members: tuple[tuple[int, tuple[str, ...]], ...]
    rest: str
    columns: int

    def completed(self, found: Mapping[str, InputStatistics]) -> dict[str, ExpertStatistics]:
        """By the layers' names, what the rule makes of the moments found for the hook's names and for `rest`."""
        own = [next((found[name] for name in names if name in found), None) for _, names in self.members]
        short = any(known is None or known.tokens < self.columns for known in own)
        everyone = _pooled([*own, found.get(self.rest)]) if short else None
        return {
            name: _completed(known, everyone, self.columns)
            for (_, names), known in zip(self.members, own, strict=True)
            for name in names
        }


def refusal(module: nn.Module) -> str:
    """Why the experts' inputs cannot be told from the module's call; "" when they can."""
    if not hasattr(module, "has_gate") or not hasattr(module, DOWN):
        return f"{type(module).__name__} does not compute its experts as the mixtures of transformers do"
    return f"{type(module).__name__} keeps its experts transposed" if module.is_transposed else ""


def expert_hooks(module: nn.Module, path: str, places: Mapping[str, ExpertPlace]) -> tuple[ExpertHook, ...]:
    """Hooks for layers of the module of experts at `path` inside a block; first those of gate and up, then of down.

    places: by the layers' names, those whose inputs are wanted. Raises ValueError where there is a `refusal`.
    """
    reason = refusal(module)
    if reason:
        raise ValueError(reason)
    found: list[ExpertHook] = []
    for down in (False, True):
        members: dict[int, tuple[str, ...]] = {}
        for name, place in sorted(places.items(), key=lambda item: (item[1].expert, item[1].start)):
            if (place.parameter == DOWN) == down:
                members[place.expert] = (*members.get(place.expert, ()), name)
        columns = (_down(module) if down else _entrance(module)).shape[2]
        at_once = max(1, MOMENT_BYTES // (4 * columns * columns))
        experts = list(members)
        for start in range(0, len(experts), at_once):
            group = {expert: members[expert] for expert in experts[start : start + at_once]}
            found.append(_hook(path, group, columns, down=down))
    return tuple(found)


def _hook(path: str, members: dict[int, tuple[str, ...]], columns: int, *, down: bool) -> ExpertHook:
    names = tuple(name for group in members.values() for name in group)
    rest = f"{path}: inputs of other experts"
    rows = partial(_rows, members, rest, down)
    return ExpertHook(path, names, rows, paired=False, members=tuple(members.items()), rest=rest, columns=columns)


def _rows(
    members: Mapping[int, tuple[str, ...]],
    rest: str,
    down: bool,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> list[Inputs]:
    """The inputs of one call, float32 [tokens, columns], of each expert with tokens; those of the others together."""
    found: list[Inputs] = []
    others: list[Tensor] = []
    for expert, entering in _routed(module, args, kwargs):
        rows = (_inner(module, expert, entering) if down else entering).float()
        if expert in members:
            found.append((members[expert], rows))
        else:
            others.append(rows)
    if others:
        found.append(((rest,), torch.cat(others)))
    return found


def _routed(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[int, Tensor]]:
    """Experts in order with the hidden states [tokens, width] routed to them, where there are any."""
    given = inspect.signature(type(module).forward).bind(module, *args, **kwargs)
    _, hidden, chosen, *_ = given.arguments.values()
    hidden, chosen = hidden.detach().flatten(0, -2), chosen.flatten(0, -2)
    for expert in range(_down(module).shape[0]):
        entering = hidden[(chosen == expert).any(1)]
        if len(entering):
            yield expert, entering


def _inner(module: Any, expert: int, entering: Tensor) -> Tensor:
    """What enters the expert's down matrix [tokens, columns], as the module itself would compute it."""
    biases = None
    if module.has_bias:
        biases = module.gate_up_proj_bias if module.has_gate else module.up_proj_bias
    made = linear(entering, _entrance(module)[expert], None if biases is None else biases[expert])
    found: Tensor = module._apply_gate(made) if module.has_gate else module.act_fn(made)
    return found


def _entrance(module: Any) -> Tensor:
    found: Tensor = module.gate_up_proj if module.has_gate else module.up_proj
    return found


def _down(module: Any) -> Tensor:
    found: Tensor = module.down_proj
    return found


def _pooled(parts: list[InputStatistics | None]) -> InputStatistics | None:
    """The moments over the tokens of all parts; None when there are no tokens."""
    tokens = 0
    total: Tensor | None = None
    for part in parts:
        if part is not None and part.tokens:
            tokens += part.tokens
            weighted = part.hessian * part.tokens
            total = weighted if total is None else total.add_(weighted)
    return None if total is None else InputStatistics(total.div_(tokens), tokens)


def _completed(own: InputStatistics | None, everyone: InputStatistics | None, columns: int) -> ExpertStatistics:
    if own is not None and own.tokens >= columns:
        return ExpertStatistics(own)
    if everyone is None:
        note = "no expert of the module saw a calibration token; solved from the weights alone"
        return ExpertStatistics(InputStatistics(torch.zeros(columns, columns), 0), (note,))
    if own is None or not own.tokens:
        note = "the expert saw no calibration token; solved with the moments of all experts"
        return ExpertStatistics(everyone, (note,))
    share = own.tokens / columns
    note = (
        f"the expert saw fewer calibration tokens ({own.tokens}) than it has inputs ({columns}): the moments of all "
        f"experts count {1 - share:.0%}"
    )
    return ExpertStatistics(InputStatistics(everyone.hessian.lerp(own.hessian, share), own.tokens), (note,))
