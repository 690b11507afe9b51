"""The treated layers of one block, solved on what calibration shows them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchvise.core.blockwise.batching import Batching, with_memory
from benchvise.core.blockwise.block_run import BlockRun
from benchvise.core.blockwise.context import BlockwiseJob
from benchvise.core.blockwise.input_hooks import InputHook, Inputs, in_order
from benchvise.core.blockwise.nonfinite import first_not_finite, not_finite
from benchvise.core.blockwise.observed_layers import ObservedLayers, observed_layers
from benchvise.core.blockwise.original_inputs import OriginalInputs
from benchvise.core.blockwise.staged_pass import StagedPass, can_wait
from benchvise.core.blockwise.statistics import Collector, Learned, NotFinite, Stream, Wanted, finite
from benchvise.core.blockwise.sub_progress import SubProgress
from benchvise.core.compress.whole_matrix import solve_matrix
from benchvise.core.errors import CheckpointError
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.solvers.block import BlockLayer
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.registry import functions_of


class BlockSolving:
    """Solves layers in the order in which they are at work, and brings the hidden states to the block's other side.

    shown:    the hidden states that the layers are shown: of the compressed prefix, or of the original network.
    original: beside it, where it is of use, the original block on the original's hidden states.

    Shown the compressed prefix, layers with the same inputs are solved together, and those after them see what comes of
    it. Shown the original, one pass serves all. Hidden states are changed in place.
    """

    def __init__(
        self,
        job: BlockwiseJob,
        batching: Batching,
        run: BlockRun,
        shown: Tensor,
        original: Stream | None,
        sub_progress: SubProgress,
    ) -> None:
        self._job = job
        self._batching = batching
        self._index = run.index
        self._run = run
        self._shown = Stream(run, shown)
        self._original = original
        self._staged = job.recipe.calibration.inputs == "compressed"
        self._share = sub_progress
        self._initial: dict[str, _Initial] = {}

    def carry_out(self, rows: Sequence[PlanRow], *, onward: bool) -> None:
        """onward: whether something comes after the block that the hidden states are needed for.

        Raises CheckpointError naming the module whose outputs are not finite.
        """
        try:
            self._carry_out(rows, onward=onward)
        except NotFinite as error:
            raise self._located(error) from error

    def _carry_out(self, rows: Sequence[PlanRow], *, onward: bool) -> None:
        run, hidden = self._run, self._shown.hidden
        inside = partial(self._job.network.name_inside, self._index)
        observed = observed_layers(self._job.network.model, rows, compared=self._original is not None, inside=inside)
        with torch.no_grad():
            hooks = with_memory(lambda: in_order(run.module, observed.hooks, lambda: run(hidden[:1])))
        together = self._together(rows, observed)
        alone = [row for row in rows if row not in together]
        fractions = (0.1, 0.1, 0.8) if together else (0.5, 0.5, 0.0)
        self._passes, self._solving, self._whole = (self._share.part(fraction) for fraction in fractions)
        self._passes.start(((len(hooks) if self._staged else 0) + 2) * len(hidden), "windows")
        self._solving.start(sum(row.layer.parameters for row in alone), "weights")
        if self._staged:
            self._in_stages(alone, together, observed, hooks, onward=onward)
        else:
            self._at_once(alone, together, observed, hooks, onward=onward)

    def _in_stages(
        self,
        alone: Sequence[PlanRow],
        together: Sequence[PlanRow],
        observed: ObservedLayers,
        hooks: Sequence[InputHook],
        *,
        onward: bool,
    ) -> None:
        seen = {name for hook in hooks for name in hook.names}
        self._solve([row for row in alone if row.layer.name not in seen], Learned(), observed)
        started: list[BlockLayer] = []

        def solve(hook: InputHook, collect: Callable[[Wanted], Learned]) -> None:
            stage = [row for row in (*alone, *together) if row.layer.name in hook.names]
            learned = collect(observed.wanted.only(_names(stage)))
            self._solve([row for row in stage if row not in together], learned, observed)
            started.extend(self._begin([row for row in stage if row in together], learned))

        waits = can_wait(hooks)
        targets = self._in_one_pass(hooks, observed.wanted, solve, bool(together), onward=onward) if waits else None
        if not waits:
            for hook in hooks:
                solve(hook, partial(self._collect, (hook,)))
        if together:
            if self._original is None:
                raise RuntimeError("a block is to be solved without the original's hidden states")
            targets = self._outputs(self._original) if targets is None else targets
            self._solve_block(together, started, targets)
            if onward and waits:
                self._original.hidden.copy_(targets)
        behind = (self._original if not waits else None, self._shown if not waits or together else None)
        for stream in behind:
            if stream is not None and onward:
                self._advance(stream)

    @torch.no_grad()
    def _in_one_pass(
        self,
        hooks: Sequence[InputHook],
        wanted: Wanted,
        solve: Callable[[InputHook, Callable[[Wanted], Learned]], None],
        together: bool,
        *,
        onward: bool,
    ) -> Tensor | None:
        """Each stream goes through the block once: the original's first, then the one that is shown.

        It waits at each hook until its layers are solved. Returned is what the original's block gives, for those solved
        together."""
        original, windows = self._original, len(self._shown.hidden)
        beside = OriginalInputs(hooks, wanted)
        targets = None
        if original is not None:
            targets = torch.empty_like(original.hidden) if together else None
            output = targets if together else original.hidden if onward else None
            beside.see(original, self._batching, output, self._passes.advance)
        with StagedPass(self._shown, hooks) as staged:
            for number, hook in enumerate(hooks):
                solve(hook, partial(self._waiting, staged, number, beside))
            if onward and not together:

                def take(part: slice, output: Tensor) -> None:
                    self._shown.hidden[part] = finite(output)
                    self._passes.advance(part.stop - part.start)

                self._batching.run(windows, staged.output, take)
        return targets

    def _waiting(self, staged: StagedPass, number: int, beside: OriginalInputs, wanted: Wanted) -> Learned:
        """What is seen at hook `number`, where all windows wait then."""
        collector = Collector((staged.hooks[number],), wanted, self._shown)

        def take(part: slice, seen: tuple[Inputs, ...]) -> None:
            collector.add(seen, beside.of(number, part))
            self._passes.advance(part.stop - part.start)

        self._batching.run(len(self._shown.hidden), partial(staged.inputs, number), take)
        beside.forget(number)
        return collector.learned()

    def _at_once(
        self,
        alone: Sequence[PlanRow],
        together: Sequence[PlanRow],
        observed: ObservedLayers,
        hooks: Sequence[InputHook],
        *,
        onward: bool,
    ) -> None:
        hidden, whole = self._shown.hidden, self._job.network.whole
        outputs = None
        if not whole and (onward or together):
            outputs = torch.empty_like(hidden) if together else hidden
        learned = self._collect(hooks, observed.wanted, outputs)
        targets = outputs if outputs is not None or not together else self._outputs(self._shown)
        self._solve(alone, learned, observed)
        if together and targets is not None:
            self._solve_block(together, self._begin(together, learned), targets)
        if outputs is not None and onward:
            hidden.copy_(outputs)

    def _collect(self, hooks: Sequence[InputHook], wanted: Wanted, outputs: Tensor | None = None) -> Learned:
        collector = Collector(hooks, wanted, self._shown, self._original)
        return collector.run(self._batching, self._passes.advance, outputs)

    def _solve(self, rows: Sequence[PlanRow], learned: Learned, observed: ObservedLayers) -> None:
        alone = {name: f"solved from its weights alone: {why}" for name, why in observed.unobservable.items()}
        self._job.solve(
            rows, learned.noting({name: alone[name] for name in _names(rows) & alone.keys()}), self._solving
        )

    def _together(self, rows: Sequence[PlanRow], observed: ObservedLayers) -> list[PlanRow]:
        """The rows whose solver looks at the whole block."""
        return [
            row
            for row in rows
            if row.treatment.solver.needs(row.treatment.scheme) == "block"
            and functions_of(row.treatment.solver).block is not None
            and row.layer.name not in observed.unobservable
            and self._job.network.parameter_inside(self._index, row.layer) is not None
        ]

    def _begin(self, rows: Sequence[PlanRow], learned: Learned) -> list[BlockLayer]:
        """Solve the rows as their solvers begin, and let the block compute with that."""
        layers = []
        for row in rows:
            self._job.progress.check_cancelled()
            started, solver = time.monotonic(), row.treatment.solver.init_solver
            parameter = self._job.network.parameter_inside(self._index, row.layer)
            if solver is None or parameter is None:
                raise RuntimeError(f"{row.layer.name} has lost its place in the block")
            weight, statistics = self._job.weight(row).clone(), learned.statistics.get(row.layer.name)
            asked, context = row.treatment, self._job.context_of(row, weight)
            initial = solve_matrix(weight, replace(asked, solver=solver), statistics, context)
            self._job.put(row, initial)
            self._initial[row.layer.name] = _Initial(learned, started)
            layers.append(BlockLayer(row.layer, parameter, asked.scheme, asked.solver, weight, initial, statistics))
        return layers

    def _solve_block(self, rows: Sequence[PlanRow], started: Sequence[BlockLayer], targets: Tensor) -> None:
        """Each solver of whole blocks in turn, in order of its first layer."""
        windows = self._batching.windows
        kinds = list(dict.fromkeys(type(row.treatment.solver) for row in rows))
        weights = sum(row.layer.parameters for row in rows)
        layers = {layer.layer.name: layer for layer in started}
        for kind in kinds:
            group = [row for row in rows if type(row.treatment.solver) is kind]
            solve = functions_of(group[0].treatment.solver).block
            if solve is None:
                raise TypeError(f"{kind.key} solves no block")
            progress = self._whole.part(sum(row.layer.parameters for row in group) / weights)
            context = SolverContext(self._job.recipe.seed, progress, self._shown.hidden.device.type)
            members = [layers[row.layer.name] for row in group]
            hidden = self._shown.hidden
            found = solve(self._run, members, torch.split(hidden, windows), torch.split(targets, windows), context)
            for row in group:
                initial = self._initial[row.layer.name]
                weight = layers[row.layer.name].weight
                self._job.finish(row, weight, found[row.layer.name], initial.learned, initial.started)
        self._whole.finish()

    def _outputs(self, stream: Stream) -> Tensor:
        """What the stream's block gives for all windows."""
        made: Tensor | None = None

        def take(part: slice, output: Tensor) -> None:
            nonlocal made
            if made is None:
                made = output.new_empty((len(stream.hidden), *output.shape[1:]))
            made[part] = finite(output)

        with torch.no_grad():
            self._batching.run(len(stream.hidden), lambda part: stream.run(stream.hidden[part]), take)
        if made is None:
            raise RuntimeError("there are no calibration windows")
        return made

    @torch.no_grad()
    def _advance(self, stream: Stream) -> None:
        """The stream's hidden states behind the block, in the place of those before it."""

        def take(part: slice, output: Tensor) -> None:
            stream.hidden[part] = finite(output)
            self._passes.advance(part.stop - part.start)

        self._batching.run(len(stream.hidden), lambda part: stream.run(stream.hidden[part]), take)

    def _located(self, error: NotFinite) -> CheckpointError:
        network = self._job.network
        for stream in (self._original, self._shown):
            name = first_not_finite(stream.run, stream.hidden) if stream is not None else None
            if name is not None:
                return not_finite(network.name_outside(self._index, name).rstrip("."))
        return not_finite(f"{network.name_outside(self._index, '').rstrip('.')}, at {error}")


@dataclass(frozen=True)
class _Initial:
    """What a layer was first solved on, and when, as `time.monotonic` gives it."""

    learned: Learned
    started: float


def _names(rows: Sequence[PlanRow]) -> frozenset[str]:
    return frozenset(row.layer.name for row in rows)
