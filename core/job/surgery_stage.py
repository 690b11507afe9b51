"""The first stage of a job: surgery that calibration text decides, block by block from the embeddings on.

Each block is shown what the blocks before it give as they are left. The cut tensors go to a file of their own, named by
what went into it: jobs with other rules, and one that is taken up again, find it there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.blockwise.batching import Batching
from benchvise.core.blockwise.block_run import BlockRun
from benchvise.core.blockwise.calibration import CalibrationText
from benchvise.core.blockwise.curvature import factors
from benchvise.core.blockwise.input_hooks import InputHook, observe
from benchvise.core.blockwise.network import Network
from benchvise.core.blockwise.nonfinite import not_finite
from benchvise.core.blockwise.statistics import NotFinite, finite
from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.matrix_shape import as_matrix, from_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.errors import OutputError, RecipeError
from benchvise.core.evaluate.forward import gives_logits
from benchvise.core.memory import release_freed
from benchvise.core.progress import Progress
from benchvise.core.recipe.plan import Plan
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.replace import replace_weight
from benchvise.core.settings import to_mapping
from benchvise.core.solvers.channels import kept_inputs
from benchvise.core.surgery.derived import ChannelGroup, Derived, Operated
from benchvise.core.surgery.operate import operate
from benchvise.core.surgery.settle import cut_tensors, holds, settled
from benchvise.core.text import byte_text
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.weights.weights import Weights
from benchvise.core.workspace.atomic_files import whole_file
from benchvise.core.workspace.workspace import Workspace

WINDOWS = 32
"""Of the calibration text, that the backward pass reads."""

STAGE_VERSION = 1
"""Raise when the same surgery leaves other values than before, so that old files are not taken for new ones."""


def carry_out_surgery(
    plan: Plan, text: CalibrationText | None, workspace: Workspace, progress: Progress
) -> tuple[Plan, tuple[str, ...]]:
    """The plan with everything in its surgery decided, and the keys of the files that hold what was cut.

    Raises Cancelled, OutputError when the disk does not take a file, and CheckpointError as `Network` does and for
    activations that are not finite; no file is left behind then.
    """
    keys: list[str] = []

    def settle(before: Operated, step: Derived) -> Derived:
        if text is None:
            raise RuntimeError("surgery that learns from text was planned without any")
        keys.append(_key(plan, len(before.steps), text))
        path = workspace.surgery_file(keys[-1])
        if not holds(path, step):
            _check_space(path, step)
            SurgeryStage(step, weights_of(before), text, progress).write(path)
        return settled(step, path)

    if plan.operated.decided:
        return plan, ()
    return replace(plan, operated=operate(plan.source, plan.recipe.surgery, settle)), tuple(keys)


class SurgeryStage:
    """One surgery on a network, which the calibration text decides."""

    def __init__(self, step: Derived, weights: Weights, text: CalibrationText, progress: Progress) -> None:
        self._step = step
        self._weights = weights
        self._progress = progress
        self._before = {layer.name: layer for layer in step.source.layers}
        self._left = {layer.name: layer for layer in step.checkpoint.layers}
        self._gradients = self._heeded(text.ids)
        self._network = Network(weights, progress, text.ids[:1])
        self._batching = Batching(text.window_tokens, progress)
        self._ids = text.ids.to(self._network.device)

    @torch.no_grad()
    def write(self, path: Path) -> None:
        """Write the cut tensors to `path`, which appears whole or not at all. Raises as `carry_out_surgery`."""
        network, groups = self._network, self._by_block()
        widths = {(group.width, group.count) for group in self._step.groups}
        for width, count in sorted(widths):
            self._progress.note(f"Pruning feed-forward channels, {width:,} to {count:,} in {len(groups)} blocks")
        self._progress.start(len(self._ids) * network.count, "windows")
        with whole_file(path) as temporary, SafetensorsWriter(temporary, cut_tensors(self._step)) as file:
            hidden = self._pushed("the embeddings", self._ids, network.enter)
            for index in range(network.count):
                network.load(index)
                run = network.run(index)
                for group in groups.get(index, ()):
                    for layer, values in self._cut(run, index, group, hidden):
                        file.write(layer.tensor.name, values)
                if any(number > index for number in groups):
                    hidden = self._pushed(f"block {index}", hidden, run)
                network.drop(index)
                self._progress.advance(len(self._ids))

    def _heeded(self, ids: Tensor) -> dict[str, Tensor]:
        """By the readers' names, the second moments of their outputs' gradients: one backward pass of the network.

        Empty for a network without logits of a text, all of whose outputs count the same then.
        """
        readers = [self._before[group.reader] for group in self._step.groups]
        part = ids[:: max(1, len(ids) // WINDOWS)][:WINDOWS]
        model = load_model(self._weights, progress=self._progress)
        if part.is_floating_point() or not gives_logits(model, part[:1]):
            return {}
        self._progress.note(f"One backward pass over {len(part)} samples tells which outputs matter")
        self._progress.start(part.numel(), "tokens")
        found = factors(model, part, readers, self._progress)
        del model
        release_freed()
        return {name: each.gradients for name, each in found.items()}

    def _by_block(self) -> dict[int, list[ChannelGroup]]:
        found: dict[int, list[ChannelGroup]] = {}
        for group in self._step.groups:
            found.setdefault(self._network.inside[group.reader], []).append(group)
        return found

    def _pushed(self, name: str, given: Tensor, run: BlockRun | object) -> Tensor:
        """What `run` makes of all windows [windows, tokens, …]; `name` tells where it is not finite."""
        found: list[Tensor] = []

        def take(part: slice, hidden: Tensor) -> None:
            if not found:
                found.append(hidden.new_empty(len(given), *hidden.shape[1:]))
            found[0][part] = finite(hidden) if hidden.is_floating_point() else hidden

        try:
            self._batching.run(len(given), lambda part: run(given[part]), take)  # type: ignore[operator]
        except NotFinite as error:
            raise not_finite(name) from error
        return found[0]

    def _cut(self, run: BlockRun, index: int, group: ChannelGroup, hidden: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        """What is left of each layer of the group, in its dtype; the network goes on with that."""
        reader, left = self._before[group.reader], self._left[group.reader]
        moment = self._moment(run, index, reader, hidden)
        weight = as_matrix(reader, self._weights.dense(reader)).to(moment.device)
        kept, refitted = kept_inputs(weight, moment, group.count, self._gradients.get(group.reader))
        values = refitted.to(torch_dtype(left.dtype))
        whole = torch.zeros(weight.shape, device=weight.device)
        whole[:, kept] = values.float()
        replace_weight(self._network.model, reader, from_matrix(reader, whole))
        yield left, from_matrix(left, values).cpu()
        outputs = torch.tensor(group.outputs(kept.tolist()))
        for name in group.producers:
            (cut,) = self._step.cuts[name]
            yield self._left[name], self._weights.dense(self._before[name]).index_select(cut.dimension, outputs)

    def _moment(self, run: BlockRun, index: int, reader: Layer, hidden: Tensor) -> Tensor:
        """XᵀX of the reader's inputs, float64 [inputs, inputs]."""
        name = self._network.parameter_inside(index, reader)
        if name is None:
            raise RecipeError(
                f"'{reader.name}' is no layer of its own in the network, so its inputs cannot be seen",
                where=self._step.source.path,
                remedy="Take the surgery out of the recipe.",
            )
        hook = InputHook(name.rpartition(".")[0], (reader.name,), calls=1)
        width = reader.matrix_shape[1]
        total = torch.zeros(width, width, dtype=torch.float64, device=hidden.device)

        def seen(part: slice) -> Tensor:
            found = observe(run.module, [hook], lambda: run(hidden[part]), to_end=False)
            return torch.cat([rows for _, rows in found.inputs[0]])

        def add(_part: slice, rows: Tensor) -> None:
            total.add_(finite(rows.T @ rows))

        try:
            self._batching.run(len(hidden), seen, add)
        except NotFinite as error:
            raise not_finite(reader.name) from error
        return total


def _key(plan: Plan, number: int, text: CalibrationText) -> str:
    """Hex digest of what decides the cut tensors of surgery `number`: checkpoint, surgeries up to it, and text."""
    surgeries = [[each.key, to_mapping(each)] for each in plan.recipe.surgery[: number + 1]]
    parts = [STAGE_VERSION, checkpoint_identity(plan.source), surgeries, text.digest]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _check_space(path: Path, step: Derived) -> None:
    needed = sum(tensor.nbytes for tensor in cut_tensors(step))
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OutputError(
            f"The disk has {byte_text(free)} left, and what the surgery leaves of the layers takes {byte_text(needed)}",
            where=str(path.parent),
            remedy="Free space, or choose another workspace folder.",
        )
