"""The damage at the model's output when one layer alone gets one treatment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core.activations.observers import observer_of
from core.checkpoint.records import Checkpoint, Layer
from core.compress.apply import treated_weight
from core.errors import CheckpointError, RecipeError
from core.evaluate.blocks import Blocks, Captured, capture, find_blocks, first_affected, resumable, resume
from core.evaluate.divergence import Diverged, kl_divergence, log_probabilities
from core.evaluate.forward import batches, diverged, logits_of, vocabulary_of
from core.evaluate.sensitivity_cache import SensitivityCache, measurement_key
from core.evaluate.text import text_windows
from core.methods.activations import Activations
from core.progress import Progress
from core.protocol.requests import MeasureSensitivity
from core.protocol.results import Sensitivity, SensitivityCell
from core.recipe.fitting import fitted
from core.recipe.matching import matching
from core.recipe.plan import already_quantised, finding_as_sentence
from core.recipe.recipe import Treatment
from core.runtime.build import load_model
from core.runtime.quantised_inputs import InputQuantiser, linear_of, quantised_input
from core.runtime.replace import replaced_weight
from core.weights.open import open_weights
from core.workspace.workspace import Workspace


@dataclass(frozen=True)
class _Task:
    """One cell to measure: `fitted` is `treatment` as it can be carried out on the layer."""

    layer: Layer
    treatment: Treatment
    fitted: Treatment


def measure_sensitivity(request: MeasureSensitivity, progress: Progress) -> Sensitivity:
    """KL for each layer × treatment, each as a partial result as it is ready. Progress is in tokens.

    What the workspace already knows is handed on first and not computed again. Raises CheckpointError when the
    checkpoint cannot be run or is quantised already, RecipeError when no treatment fits any layer, UserError for a bad
    text.
    """
    started = time.perf_counter()
    weights = open_weights(request.path, request.workspace)
    checkpoint = weights.checkpoint
    if checkpoint.quantization is not None:
        raise already_quantised(checkpoint)
    tasks, departures = _tasks(chosen_layers(checkpoint, request.layers), request.treatments)
    windows = text_windows(checkpoint, request.text, request.windows, request.window_tokens)
    warnings = (*departures, *windows.notes)
    for warning in warnings:
        progress.note(warning)
    cache = SensitivityCache(Workspace(request.workspace).sensitivity_file(measurement_key(checkpoint, windows.ids)))
    progress.start(windows.tokens * (len(tasks) + 1), "tokens")
    cells: list[SensitivityCell] = []
    open_tasks: list[_Task] = []
    for task in tasks:
        known = cache.get(task.layer, task.fitted)
        if known is None:
            open_tasks.append(task)
        else:
            cells.append(_hand_on(task, known, progress, windows.tokens, cached=True))
    if open_tasks:
        model = load_model(weights, progress=progress)
        measure = Reference(model, windows.ids, request.path)
        progress.advance(windows.tokens)
        try:
            for task in open_tasks:
                progress.check_cancelled()
                weight = treated_weight(task.layer, task.fitted)
                kl = measure.divergence(task.layer, weight, task.fitted.activations)
                cache.put(task.layer, task.fitted, kl)
                cells.append(_hand_on(task, kl, progress, windows.tokens))
        finally:
            cache.save()
    return Sensitivity(tuple(cells), windows.tokens, time.perf_counter() - started, warnings)


def chosen_layers(checkpoint: Checkpoint, names: Sequence[str]) -> tuple[Layer, ...]:
    """The named layers, or what `linears` names. Raises CheckpointError for unknown names."""
    if names:
        return tuple(checkpoint.layer(name) for name in names)
    found, _ = matching(("linears",), checkpoint.layers)
    layers = tuple(checkpoint.layers[index] for index in sorted(found) if checkpoint.layers[index].compressible)
    if not layers:
        raise CheckpointError(
            "There is no linear layer whose sensitivity could be measured",
            where=checkpoint.path,
            remedy="Name the layers to measure; `benchvise inspect` lists them.",
        )
    return layers


class Reference:
    """The original's answers on a text, against which a model with one changed layer is measured.

    Log-probabilities and the outputs of all blocks are kept; a changed layer is felt from its block on, and only from
    there is anything computed. The results are those of the full pass, bit for bit.
    """

    def __init__(self, model: nn.Module, ids: Tensor, source: str) -> None:
        """ids: int64 [windows, tokens]; `source` names the model in errors. Raises CheckpointError when it diverges."""
        self._model = model
        self._source = source
        self._blocks = find_blocks(model)
        self._captured: list[Captured] = []
        self._log_probabilities: list[Tensor] = []
        for batch in batches(ids, vocabulary_of(model)):
            logits = self._first_pass(batch, ids.numel())
            try:
                self._log_probabilities.append(log_probabilities(logits))
            except Diverged as error:
                raise diverged(source) from error

    def divergence(self, layer: Layer, weight: Tensor, activations: Activations | None = None) -> float:
        """Mean KL in nats per token with `weight` in place of the layer's own, which is there again afterwards.

        activations: how the layer's inputs are quantised meanwhile; fixed scales are found on the same text.
        """
        parts: list[Tensor] = []
        with self._inputs(layer, activations), replaced_weight(self._model, layer, weight):
            for logits, original in zip(self._passes(layer), self._log_probabilities, strict=True):
                try:
                    parts.append(kl_divergence(original, log_probabilities(logits)).flatten().cpu())
                except Diverged as error:
                    raise diverged(f"{self._source}, {layer.name}") from error
        return float(np.mean(torch.cat(parts).numpy(), dtype=np.float64))

    def _first_pass(self, batch: Tensor, tokens: int) -> Tensor:
        if self._blocks is None:
            self._captured.append(Captured(batch, ()))
            return logits_of(self._model, batch)
        hidden = int(self._model.config.get_text_config().hidden_size)  # type: ignore[union-attr, operator]
        captured, logits = capture(self._model, self._blocks, batch, tokens * hidden * 4)
        if not self._captured and not resumable(self._model, self._blocks, captured, logits):
            self._blocks = None
            captured = Captured(batch, ())
        self._captured.append(captured)
        return logits

    def _inputs(self, layer: Layer, activations: Activations | None) -> AbstractContextManager[None]:
        if activations is None:
            return nullcontext()
        module = linear_of(self._model, layer)
        if module is None:
            raise CheckpointError(
                f"The inputs of '{layer.name}' cannot be quantised alone: the model has no linear module for it",
                where=self._source,
                remedy="Measure the layer without quantised activations.",
            )
        scale = self._observed(layer, module, activations) if activations.needs_calibration else None
        return quantised_input(module, InputQuantiser(activations, scale))

    def _observed(self, layer: Layer, module: nn.Module, activations: Activations) -> Tensor:
        """The fixed scale that the layer's inputs in the original suggest."""
        observer = observer_of(activations)
        hook = module.register_forward_pre_hook(lambda _, inputs: observer.see(inputs[0].flatten(0, -2)))
        try:
            for _ in self._passes(layer):
                pass
            return observer.scale().to(next(module.parameters()).device)
        except ValueError as error:
            raise diverged(f"{self._source}, inputs of {layer.name}") from error
        finally:
            hook.remove()

    def _passes(self, layer: Layer) -> Iterator[Tensor]:
        blocks: Blocks | None = self._blocks
        start = first_affected(self._model, blocks, layer) if blocks else 0
        for captured in self._captured:
            if blocks is None or start == 0:
                yield logits_of(self._model, captured.ids)
            else:
                yield resume(self._model, blocks, captured, start)


def _tasks(layers: Sequence[Layer], treatments: Sequence[Treatment]) -> tuple[list[_Task], list[str]]:
    """The cells to measure, and every departure from what was asked, as sentences."""
    tasks: list[_Task] = []
    refusal: RecipeError | None = None
    findings: dict[str, list[str]] = {}
    for layer in layers:
        for treatment in treatments:
            try:
                fit, notes = fitted(treatment, layer)
            except RecipeError as error:
                refusal = refusal or error
                findings.setdefault(f"not measured with {treatment.tag}, which does not fit", []).append(layer.name)
                continue
            if fit.scheme.shared:
                notes = (*notes, "counted over the layer alone")
            if fit.activations is not None and fit.activations.needs_calibration:
                notes = (*notes, "the fixed scale of its inputs was found on the text it is measured on")
            for note in notes:
                findings.setdefault(f"measured with {treatment.tag}: {note}", []).append(layer.name)
            tasks.append(_Task(layer, treatment, fit))
    if not tasks and refusal is not None:
        raise refusal
    return tasks, [finding_as_sentence(finding, names) for finding, names in findings.items()]


def _hand_on(task: _Task, kl: float, progress: Progress, tokens: int, *, cached: bool = False) -> SensitivityCell:
    cell = SensitivityCell(task.layer.name, task.treatment.tag, kl, cached)
    progress.result(cell)
    progress.advance(tokens)
    return cell
