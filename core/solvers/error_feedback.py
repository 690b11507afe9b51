"""Error feedback on the grid of any scheme.

Rounding W to Ŵ costs tr((W − Ŵ) H (W − Ŵ)ᵀ) at the layer's output. With H = (I + U) D (I + U)ᵀ, U strictly upper
triangular and D diagonal, that is Σᵢ Dᵢ ‖Wᵢ − Ŵᵢ + (W − Ŵ) Uᵢ‖² over the columns i, and Uᵢ holds only what comes before
i. So each column in turn takes the values nearest to Wᵢ + (W − Ŵ) Uᵢ. This is GPTQ with one Cholesky and no inverse.

Source: GPTQ, arXiv 2210.17323; that the two are one, QuIP, arXiv 2307.13304, theorem 6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.scheme import Scheme
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import Grid, MaskGrid
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.moments import Factored, descent, factor, original_target, unusable
from benchvise.core.solvers.nearest import project
from benchvise.core.solvers.solution import InputStatistics, Solution
from benchvise.core.solvers.zeros import in_grid_order, refitted, searched

_FEW_COLUMNS = 16
"""Rounded one by one with a product of a few columns each; more are halved, and halves meet in larger products."""


def error_feedback(
    weight: Tensor,
    scheme: Scheme,
    solver: ErrorFeedback,
    statistics: InputStatistics | None,
    context: SolverContext,
) -> Solution:
    """Solve `weight` [rows, columns] in its dtype; without inputs to learn from, each weight takes its nearest value.

    Raises Cancelled.
    """
    clip = ClipSearch(solver.clip_steps, solver.clip_least) if clips(solver, scheme) else None
    missing = "no calibration inputs" if statistics is None or not statistics.tokens else unusable(statistics.hessian)
    if missing or statistics is None:
        return project(weight, scheme, clip, None, context, f"{missing}: solved as nearest")
    rows, columns = weight.shape
    hessian = statistics.hessian
    grid = arithmetic_of(scheme).grid(scheme, rows, columns, weight.dtype, clip=clip)
    grid.progress = context.progress
    order = column_order(hessian.diagonal(), grid, solver.order)
    factored = factor(hessian, order, grid.step, solver.damping, context.progress)
    target = weight.T.float()
    if statistics.drift is not None and solver.original_target:
        target = target.lerp(original_target(target, statistics.drift, factored), solver.original_target)
    grid.learn(hessian)
    if isinstance(grid, MaskGrid) and solver.zeros == "search":
        target = _with_zeros(target, factored, grid, solver)
    whole, target = target, target[order]
    solved = _Rounding(grid, order, factored.feedback, target.clone(), target)
    solved.fit_and_round(factored.cost, before=solver.order == "columns")
    if solver.passes:
        solved = _descended(solved, factored, target, solver.passes)
    codes = solved.codes.T.contiguous()
    if isinstance(grid, MaskGrid) and grid.continuous and solver.refit and solver.zeros == "spans":
        first = grid.decode(0, codes)
        codes = grid.encode(0, refitted(whole.T, in_grid_order(factored), grid.mask, first, context.progress))
    return Solution(grid.stored(codes), grid.decode(0, codes).to(weight.dtype), _notes(solver, factored))


def _with_zeros(target: Tensor, factored: Factored, grid: MaskGrid, solver: ErrorFeedback) -> Tensor:
    """What is left to round, [columns, rows], once the zeros are searched for: the values nearest at the outputs.

    Errors of the values that stay then cost what they cost beside `target`, less what the zeros cost for good.
    """
    weight, moments = target.T.contiguous(), in_grid_order(factored)
    grid.hold(searched(weight, moments, grid, solver.search_steps, grid.progress))
    if not solver.refit:
        return target
    return refitted(weight, moments, grid.mask, weight, grid.progress).T.contiguous()


def clips(solver: ErrorFeedback, scheme: Scheme) -> bool:
    return solver.clip_search and "scale" in scheme.capabilities


def column_order(importance: Tensor, grid: Grid, order: str) -> Tensor:
    """The columns, int64 [columns], in the order they are rounded; those of one code stay together.

    importance: [columns]. order: as `ErrorFeedback.order`.
    """
    columns = len(importance)
    natural = torch.arange(columns)
    if order == "natural":
        return natural
    units = importance.view(-1, grid.step).sum(1)
    found = torch.argsort(units, descending=True, stable=True)
    if order == "groups" and grid.span < columns:
        spans = natural // grid.span
        weighed = torch.zeros(int(spans[-1]) + 1).index_add_(0, spans, importance)
        place = torch.argsort(torch.argsort(weighed, descending=True, stable=True))
        found = found[torch.argsort(place[spans[found * grid.step]], stable=True)]
    return natural.view(-1, grid.step)[found].flatten()


class _Rounding:
    """One pass over the columns in order. Columns are rows here, [columns, rows], so that each lies in one piece.

    feedback: [columns, columns]; every column aims at its target plus what `feedback` makes of the errors before it.
    targets:  [columns, rows], written over. weight: what errors are measured from.
    errors:   weight less decoded, of the columns so far. codes: [columns / step, rows], in the order of the grid.
    """

    def __init__(self, grid: Grid, order: Tensor, feedback: Tensor, targets: Tensor, weight: Tensor) -> None:
        self.grid, self.order, self.feedback, self.targets, self.weight = grid, order, feedback, targets, weight
        self.errors = torch.empty_like(weight)
        self.codes = torch.empty(0, dtype=torch.uint8)
        self._columns: list[int] = order.tolist()

    def fit_and_round(self, cost: Tensor, *, before: bool) -> None:
        """Round with parameters chosen `before` for all, or else for each span when its turn comes."""
        columns = len(self._columns)
        if before or self.grid.span >= columns:
            self._fit(0, columns, cost)
            self.round(0, columns)
            return
        if self.grid.nested:
            self._fit(0, columns, cost)
        span = self.grid.span
        starts = [at for at in range(1, columns) if self._columns[at] // span != self._columns[at - 1] // span]
        self._round_spans([0, *starts, columns], cost)

    def _round_spans(self, bounds: list[int], cost: Tensor) -> None:
        """Round spans that begin at `bounds`, the last of which is the end; targets hold all feedback from before."""
        if len(bounds) == 2:
            self._fit(bounds[0], bounds[1], cost)
            self.round(bounds[0], bounds[1])
            return
        middle = len(bounds) // 2
        self._round_spans(bounds[: middle + 1], cost)
        self._feed(bounds[0], bounds[middle], bounds[-1])
        self._round_spans(bounds[middle:], cost)

    def round(self, start: int, stop: int) -> None:
        """Round columns whose parameters are chosen: halves with a matrix product between, down to a few."""
        step = self.grid.step
        if stop - start <= max(_FEW_COLUMNS, step):
            self._round_few(start, stop)
            return
        middle = start + (stop - start) // 2 // step * step
        self.round(start, middle)
        self._feed(start, middle, stop)
        self.round(middle, stop)

    def _round_few(self, start: int, stop: int) -> None:
        step = self.grid.step
        self.grid.progress.check_cancelled()
        for place in range(start, stop, step):
            end, column = place + step, self._columns[place]
            if place > start:
                self._feed(start, place, end)
            codes, decoded = self.grid.rounded(column, self.targets[place:end].T)
            torch.sub(self.weight[place:end], decoded.T, out=self.errors[place:end])
            if not len(self.codes):
                self.codes = codes.new_empty((len(self._columns) // step, len(codes)))
            self.codes[column // step] = codes[:, 0]

    def _feed(self, start: int, middle: int, stop: int) -> None:
        """Let the columns middle … stop make good the errors of start … middle."""
        feedback = self.feedback[start:middle, middle:stop]
        self.targets[middle:stop].addmm_(feedback.T, self.errors[start:middle])

    def _fit(self, start: int, stop: int, cost: Tensor) -> None:
        """Choose the parameters of whole spans from what is expected of their columns by now.

        That is the least costly answer to the errors so far: a target also holds what the columns before it in the span
        are about to answer, until their errors say that they did.
        """
        columns = self.order[start:stop]
        back = torch.argsort(columns)
        weight = self.weight[start:stop]
        within = self.feedback[start:stop, start:stop].T
        answer = torch.linalg.solve_triangular(
            within, self.targets[start:stop] - weight, upper=False, unitriangular=True
        )
        values = answer.add_(weight)[back].T
        self.grid.fit(int(columns.min()), values, cost[start:stop][back])


def _descended(solved: _Rounding, factored: Factored, weight: Tensor, passes: int) -> _Rounding:
    """Round each column again, all others given, up to `passes` times; parameters stay."""
    feedback = descent(factored)
    later = feedback.tril(-1).T
    # Codes of one column are the least costly of all, all others given; those of several are near it and may be worse.
    cost = _cost(solved.errors, factored.moments) if factored.step > 1 else 0.0
    for _ in range(passes):
        again = _Rounding(solved.grid, factored.order, feedback, torch.addmm(weight, later, solved.errors), weight)
        again.round(0, len(weight))
        if factored.step > 1:
            before, cost = cost, _cost(again.errors, factored.moments)
            if cost >= before:
                break
        elif torch.equal(again.codes, solved.codes):
            break
        solved = again
    return solved


def _cost(errors: Tensor, moments: Tensor) -> float:
    return float((moments @ errors).mul_(errors).sum(1).double().sum())


def _notes(solver: ErrorFeedback, factored: Factored) -> tuple[str, ...]:
    notes = []
    if factored.damping > solver.damping:
        notes.append(f"damping raised to {factored.damping:g}")
    if factored.dead:
        notes.append(f"{factored.dead} inputs were always zero: their weights are rounded to nearest")
    return tuple(notes)
