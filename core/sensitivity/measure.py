"""The KL increase of each treatment on each layer: one job that fills the map, resumes, and corrects."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchvise.core.allocate.prediction import joint_effects_of, rank_correlation
from benchvise.core.blockwise.calibration import CalibrationText, calibration_text
from benchvise.core.blockwise.curvature import factors
from benchvise.core.blockwise.estimated_kl import estimated
from benchvise.core.checkpoint.identity import checkpoint_identity, tensor_identities
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import RecipeError
from benchvise.core.evaluate.forward import diverged
from benchvise.core.evaluate.text import text_windows
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.protocol.results import Sensitivity, SensitivityCell
from benchvise.core.recipe.plan import already_quantised
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.sensitivity.context import SensitivityContext
from benchvise.core.sensitivity.joint_effects import choices_to_measure
from benchvise.core.sensitivity.reference import Changes, Reference
from benchvise.core.sensitivity.tasks import Task, chosen_layers, tasks_of
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights
from benchvise.core.workspace.sensitivities import (
    DISABLE_ONE,
    ENABLE_ONE,
    FISHER,
    LayerSensitivity,
    MeasuredChoice,
    SensitivityFile,
    treatment_key,
)
from benchvise.core.workspace.workspace import Workspace

AUTO = "auto"
METHODS = (ENABLE_ONE, DISABLE_ONE, FISHER, AUTO)
_AT_RANDOM = 0.25
"""Share of a time budget that goes to cells drawn at random: a correlation over the worst ones alone says little."""


def measure_sensitivity(request: MeasureSensitivity, progress: Progress) -> Sensitivity:
    """Sensitivities of layers × treatments, each as a partial result as it is ready. Progress is in tokens.

    What the workspace already knows is handed on first and not computed again. Raises CheckpointError when the
    checkpoint cannot be run or is quantised already, RecipeError when no treatment fits any layer or the method is
    unknown, UserError for a bad text.
    """
    if request.method not in METHODS:
        raise RecipeError(
            f"There is no method '{request.method}' to measure sensitivity",
            where="method",
            remedy=f"Choose one of: {', '.join(METHODS)}.",
        )
    weights = open_weights(request.path, request.workspace)
    if weights.checkpoint.undecoded:
        raise already_quantised(weights.checkpoint)
    return _Measuring(request, weights, progress).carry_out()


def measurement_key(checkpoint: Checkpoint, ids: Tensor) -> str:
    """Hex digest over what names a measurement: the structure of the network and the windows, not the weights.

    ids: int64 [windows, tokens].
    """
    outline = [(layer.name, layer.shape, layer.dtype) for layer in checkpoint.layers]
    digest = hashlib.sha256(json.dumps([checkpoint.config, outline], sort_keys=True, default=str).encode())
    digest.update(str(tuple(ids.shape)).encode() + ids.numpy().tobytes())
    return digest.hexdigest()


def content_of(weights: Weights, layer: Layer) -> str:
    """Hex digest over the values of the layer's tensor, as it computes."""
    values = weights.dense(layer).contiguous().flatten()
    return hashlib.sha256(values.view(torch.uint8).numpy().data).hexdigest()


@dataclass
class _Measuring:
    """One job. Everything heavy is made when it is first needed: what is known already needs no model."""

    request: MeasureSensitivity
    weights: Weights
    progress: Progress

    def carry_out(self) -> Sensitivity:
        started, request = time.perf_counter(), self.request
        checkpoint = self.weights.checkpoint
        self.tasks, plan_warnings = tasks_of(chosen_layers(checkpoint, request.layers), request.treatments)
        windows = text_windows(checkpoint, request.text, request.windows, request.window_tokens)
        self.ids, self.tokens = windows.ids, windows.tokens
        self.shown = self._calibration()
        self.key = measurement_key(checkpoint, self.ids)
        self.kl_increases = SensitivityFile(Workspace(request.workspace).sensitivity_file(self.key))
        self.warnings = [*plan_warnings, *windows.notes, *(self.shown.notes if self.shown is not None else ())]
        self._look_at_content()
        for warning in self.warnings:
            self.progress.note(warning)
        tensors = tensor_identities({task.layer.name: task.layer for task in self.tasks}.values())
        self.kl_increases.describe(checkpoint_identity(checkpoint), self.tokens, tensors)
        asked = (request.text, request.windows, request.window_tokens)
        self.kl_increases.add_asked(*asked, request.treatments)
        order = dict.fromkeys(task.layer for task in self.tasks)
        shown = None if self.shown is None else self.shown.ids
        self._context = SensitivityContext(self.weights, self.ids, shown, tuple(order), self.progress)
        try:
            cells = self._cells()
            joint = self._measured_jointly() if request.correct else ()
        finally:
            self.kl_increases.save()
        compared = self._compared()
        return Sensitivity(
            cells,
            self.tokens,
            time.perf_counter() - started,
            tuple(self.warnings),
            self.key,
            rank_correlation(compared) if len(compared) > 2 else None,
            len(compared),
            joint_effects_of(self.kl_increases, joint),
            request.treatments,
            asked,
        )

    def _calibration(self) -> CalibrationText | None:
        if not any(task.fitted.needs_calibration for task in self.tasks):
            return None
        return calibration_text(self.weights.checkpoint, self.request.calibration, self.request.seed)

    def _look_at_content(self) -> None:
        layers = {task.layer.name: task.layer for task in self.tasks}
        changed = [
            name for name, layer in layers.items() if not self.kl_increases.see(name, content_of(self.weights, layer))
        ]
        if changed:
            self.warnings.append(
                f"{len(changed)} layers have changed since they were measured and are measured again; what others do "
                f"was measured beside the earlier ones: {', '.join(changed[:8])}"
            )

    def _key(self, task: Task) -> str:
        return treatment_key(task.fitted, self.shown.digest if self.shown is not None else "")

    def _cells(self) -> tuple[SensitivityCell, ...]:
        method = self.request.method
        if method == AUTO:
            return self._as_time_allows()
        cells, open_ = self._known(self.tasks, method)
        passes = len(open_) + 1 if open_ else 0
        self.progress.start(self.tokens * (len(cells) + passes), "tokens")
        self.progress.advance(self.tokens * len(cells))
        if open_:
            carry_out = {ENABLE_ONE: self._one_by_one, DISABLE_ONE: self._sparing_one, FISHER: self._estimating}
            cells += carry_out[method](open_)
        return tuple(cells)

    def _known(self, tasks: Iterable[Task], method: str) -> tuple[list[SensitivityCell], list[Task]]:
        cells: list[SensitivityCell] = []
        open_: list[Task] = []
        for task in tasks:
            kl_increase = self.kl_increases.get(task.layer.name, self._key(task), method)
            if kl_increase is None:
                open_.append(task)
            else:
                cells.append(self._hand_on(task, method, kl_increase, cached=True))
        return cells, open_

    def _as_time_allows(self) -> tuple[SensitivityCell, ...]:
        """All estimated, then as many measured as time allows: some at random, then the largest."""
        end = time.monotonic() + self.request.seconds
        measured, unmeasured = self._known(self.tasks, ENABLE_ONE)
        estimated_, unknown = self._known(unmeasured, FISHER)
        self.progress.start(self.tokens * (len(self.tasks) + 2), "tokens")
        self.progress.advance(self.tokens * len(measured))
        if unknown:
            estimated_ += self._estimating(unknown, counted=0)
        worst = {(cell.layer, cell.key): cell.kl for cell in estimated_}
        order = sorted(unmeasured, key=lambda task: -worst.get((task.layer.name, task.treatment.key), 0.0))
        drawn = random.Random(0).sample(order, round(_AT_RANDOM * len(order)))  # noqa: S311 - no secret
        middle = time.monotonic() + _AT_RANDOM * max(0.0, end - time.monotonic())
        found = self._one_by_one(sorted(drawn, key=self._depth), until=middle) if drawn else []
        done = {(cell.layer, cell.key) for cell in found}
        rest = [task for task in order if (task.layer.name, task.treatment.key) not in done]
        found += self._one_by_one(rest, until=end) if rest else []
        done |= {(cell.layer, cell.key) for cell in found}
        self.progress.advance(self.tokens * (len(unmeasured) - len(found)))
        estimated_ = [cell for cell in estimated_ if (cell.layer, cell.key) not in done]
        return (*measured, *found, *estimated_)

    def _one_by_one(self, tasks: Sequence[Task], until: float = float("inf")) -> list[SensitivityCell]:
        cells = []
        for task in tasks:
            if time.monotonic() > until:
                break
            self.progress.check_cancelled()
            treated = self._context.layers.of(task.layer, task.fitted, self.progress)
            kl = self._context.reference.divergence(task.layer, treated.weight, task.fitted.activations)
            cells.append(self._keep(task, ENABLE_ONE, LayerSensitivity(kl, treated.output_error, treated.sqnr_db)))
            self.progress.advance(self.tokens)
        return cells

    def _sparing_one(self, tasks: Sequence[Task]) -> list[SensitivityCell]:
        """For each treatment: the KL when all layers have it, less the KL when all but one have it."""
        cells = []
        for treatment in dict.fromkeys(task.treatment for task in tasks):
            everywhere = {task.layer: task.fitted for task in self.tasks if task.treatment == treatment}
            changes = self._changes(everywhere)
            whole = self._context.reference.joint_divergence(changes)
            for task in (task for task in tasks if task.treatment == treatment):
                self.progress.check_cancelled()
                spared = {layer: change for layer, change in changes.items() if layer != task.layer}
                kl = max(0.0, whole - self._context.reference.joint_divergence(spared)) if np.isfinite(whole) else whole
                treated = self._context.layers.of(task.layer, task.fitted, self.progress)
                cells.append(self._keep(task, DISABLE_ONE, LayerSensitivity(kl, treated.output_error, treated.sqnr_db)))
                self.progress.advance(self.tokens)
        return cells

    def _estimating(self, tasks: Sequence[Task], counted: int | None = None) -> list[SensitivityCell]:
        """counted: the tokens that each cell stands for."""
        cells = []
        layers = {task.layer.name: task.layer for task in tasks}
        found = factors(self._context.model, self.ids, tuple(layers.values()), self.progress)
        if not all(bool(each.gradients.isfinite().all()) for each in found.values()):
            raise diverged(self.request.path)
        for task in tasks:
            self.progress.check_cancelled()
            known = found.get(task.layer.name)
            if known is None or task.fitted.activations is not None:
                cells += self._one_by_one((task,))
            else:
                kl = estimated(self.weights, task.layer, task.fitted, known, self.progress)
                cells.append(self._keep(task, FISHER, LayerSensitivity(kl)))
                self.progress.advance(self.tokens if counted is None else counted)
        return cells

    def _measured_jointly(self) -> Sequence[MeasuredChoice]:
        """What several layers do at once, for some ways to choose that a budget might.

        Half of the windows are others of the text: what is chosen on some windows causes more there.
        """
        tasks = {(task.layer.name, self._key(task)): task for task in self.tasks}
        measured = []
        for choice in choices_to_measure(self.kl_increases, self.tasks, self._key):
            kl = self.kl_increases.known_joint_effects(choice)
            if kl is None:
                self.progress.check_cancelled()
                chosen = [tasks[each] for each in choice.items()]
                changes = self._changes({task.layer: task.fitted for task in chosen})
                kl = float(np.mean([each.joint_divergence(changes) for each in self._both]))
            if np.isfinite(kl):
                measured.append(MeasuredChoice(choice, kl))
                self.kl_increases.put_joint_effects(measured[-1])
        return measured

    @cached_property
    def _both(self) -> tuple[Reference, ...]:
        request = self.request
        twice = text_windows(self.weights.checkpoint, request.text, 2 * request.windows, request.window_tokens).ids
        enough = len(twice) == 2 * len(self.ids) and twice.shape[1] == self.ids.shape[1]
        others = (Reference(self._context.model, twice[1::2], self.weights.source),) if enough else ()
        return (self._context.reference, *others)

    def _changes(self, chosen: Mapping[Layer, Treatment]) -> Changes:
        treated = {layer: self._context.layers.of(layer, fit, self.progress) for layer, fit in chosen.items()}
        return {layer: (treated[layer].weight, fit.activations) for layer, fit in chosen.items()}

    def _compared(self) -> list[tuple[float, float]]:
        """(estimated, measured) of the cells for which both are known."""
        pairs = []
        for task in self.tasks:
            both = [self.kl_increases.get(task.layer.name, self._key(task), method) for method in (FISHER, ENABLE_ONE)]
            if both[0] is not None and both[1] is not None:
                pairs.append((both[0].kl, both[1].kl))
        return pairs

    def _depth(self, task: Task) -> int:
        return -1 if task.layer.depth is None else task.layer.depth

    def _keep(self, task: Task, method: str, kl_increase: LayerSensitivity) -> SensitivityCell:
        if not np.isfinite(kl_increase.kl):
            self.warnings.append(f"{task.layer.name}: with {task.treatment.tag} the outputs are no numbers any more")
        self.kl_increases.put(task.layer.name, self._key(task), method, kl_increase)
        return self._hand_on(task, method, kl_increase)

    def _hand_on(
        self, task: Task, method: str, kl_increase: LayerSensitivity, *, cached: bool = False
    ) -> SensitivityCell:
        cell = SensitivityCell(
            task.layer.name,
            task.treatment.tag,
            kl_increase.kl,
            cached,
            method,
            kl_increase.output_error,
            kl_increase.sqnr_db,
            task.treatment.key,
        )
        self.progress.result(cell)
        return cell
