"""The way from block to block: each is transformed, observed, solved, and left for the next."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from benchvise.core.blockwise.batching import Batching
from benchvise.core.blockwise.block_run import BlockRun
from benchvise.core.blockwise.block_solving import BlockSolving
from benchvise.core.blockwise.context import BlockwiseJob
from benchvise.core.blockwise.half_precision import halved
from benchvise.core.blockwise.kept_layers import record_changed
from benchvise.core.blockwise.statistics import Learned, Stream
from benchvise.core.blockwise.sub_progress import SubProgress
from benchvise.core.blockwise.transforming import Transforms
from benchvise.core.recipe.plan import PlanRow


@dataclass
class HiddenStates:
    """Hidden states [windows, tokens, width] between two blocks.

    original:   in the original network; None where nothing needs them.
    compressed: after the compressed prefix; None where layers are shown the original's.
    """

    original: Tensor | None = None
    compressed: Tensor | None = None

    @property
    def shown(self) -> Tensor | None:
        """Those that layers are solved on, float32 [windows, tokens, width]."""
        return self.original if self.compressed is None else self.compressed

    def named(self) -> dict[str, Tensor]:
        """Those that there are, by name, float32 [windows, tokens, width] each."""
        found = {"original": self.original, "compressed": self.compressed}
        return {name: hidden for name, hidden in found.items() if hidden is not None}


class BlockwiseStage:
    """Goes through the blocks of a network one after the other. `streams` enter the next block."""

    def __init__(self, job: BlockwiseJob, transforms: Transforms, streams: HiddenStates, batching: Batching) -> None:
        self._job = job
        self._transforms = transforms
        self._batching = batching
        self.streams = streams

    def block(self, index: int, rows: Sequence[PlanRow], sub_progress: SubProgress, *, onward: bool) -> None:
        """Carry out block `index`, whose treated layers are `rows`.

        onward: whether anything behind it needs the hidden states. Raises CheckpointError for NaN and infinity.
        """
        network, streams = self._job.network, self.streams
        network.load(index)
        run = network.run(index)
        self._transform(index, rows, run)
        if streams.shown is not None:
            run = halved(network, run, rows, streams.shown)
        reference = None
        if streams.original is not None and streams.compressed is not None:
            reference = Stream(run.of(_copied(run.module)), streams.original)
        if self._transforms.some:
            treated = {row.layer.name for row in rows}
            layers = network.weights.checkpoint.layers
            inside = (layer for layer in layers if network.inside.get(layer.name) == index)
            record_changed(network, (layer for layer in inside if layer.name not in treated), self._job.recorder)
        if streams.shown is None:
            sub_progress.start(sum(row.layer.parameters for row in rows), "weights")
            self._job.solve(rows, Learned(), sub_progress)
        else:
            solving = BlockSolving(self._job, self._batching, run, streams.shown, reference, sub_progress)
            solving.carry_out(rows, onward=onward)
        network.drop(index)
        sub_progress.finish()

    def _transform(self, index: int, rows: Sequence[PlanRow], run: BlockRun) -> None:
        hidden = self.streams.shown

        def push() -> None:
            if hidden is None:
                raise RuntimeError("a transform asks for calibration inputs, and there are none")
            self._batching.run(len(hidden), lambda part: run(hidden[part]).shape, lambda _part, _shape: None)

        if self._transforms.some:
            schemes = {
                name: (row.treatment.scheme, row.treatment.activations)
                for row in rows
                if (name := self._job.network.parameter_inside(index, row.layer)) is not None
            }
            self._transforms.change_block(index, push, schemes)


def _copied(module: nn.Module) -> nn.Module:
    """The module with weights of its own; what it shares with the model around it, such as the config, stays shared."""
    config = getattr(module, "config", None)
    return copy.deepcopy(module, {} if config is None else {id(config): config})
