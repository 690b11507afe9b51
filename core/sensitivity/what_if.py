"""What another treatment would do to one layer, answered at once: the model stays loaded between questions."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

import psutil
import torch

from benchvise.core.blockwise.calibration import calibration_text
from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import CheckpointError
from benchvise.core.evaluate.text import text_windows
from benchvise.core.progress import NullProgress, Progress
from benchvise.core.protocol.requests import WhatIf
from benchvise.core.protocol.results import WhatIfAnswer
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.plan import already_quantised
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.sensitivity.context import SensitivityContext
from benchvise.core.sensitivity.treated import Treated, TreatedLayers, solved_alone
from benchvise.core.text import byte_text
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights
from benchvise.core.wording import reason

SHOWN_TOKENS = 2048
"""What solvers are shown here at most: enough for an idea of what they do."""
MEMORY_SHARE = 0.5
"""Of the memory that is free: what a model that is kept loaded may take."""
_VALUE_BYTES = 4
_LOCK_SECONDS = 0.05
"""Between two looks whether a wait was cancelled."""


def what_if(request: WhatIf, progress: Progress) -> WhatIfAnswer:
    """The KL increase of one treatment on one layer, on its own weight and at the model's output.

    Raises CheckpointError for an unknown layer, RecipeError when the treatment does not fit, UserError for a bad text.
    Where the model cannot be run, or is too large to be kept loaded, there is no KL, and the notes say why.
    """
    started = time.perf_counter()
    weights = open_weights(request.path, request.workspace)
    checkpoint = weights.checkpoint
    if checkpoint.undecoded:
        raise already_quantised(checkpoint)
    layer = checkpoint.layer(request.layer)
    treatment, plan_warnings = fitted(request.treatment, layer, runs=bool(checkpoint.architecture))
    notes = (*map(reason, plan_warnings), *solved_alone(treatment)[1])
    obstacle = _obstacle(checkpoint)
    context = None
    if not obstacle:
        try:
            context = _RESIDENT.context(request, weights, progress)
        except CheckpointError as error:
            obstacle = f"{error.what}"
    if context is None:
        treated = TreatedLayers(weights, None, None).of(layer, treatment, progress)
        why = f"no divergence at the output: {obstacle}"
        return _answer(request, layer, treatment, treated, (*notes, *treated.notes, why), started)
    with _RESIDENT.lock:
        progress.check_cancelled()
        treated = context.layers.of(layer, treatment, progress)
        kl = context.reference.divergence(layer, treated.weight, treatment.activations)
    if treatment.needs_calibration:
        notes = (*notes, f"learned from no more than {SHOWN_TOKENS:,} tokens of the calibration text")
    found = _answer(request, layer, treatment, treated, (*notes, *treated.notes), started)
    return replace(found, kl=kl, tokens=context.ids.numel())


def forget_loaded(progress: Progress) -> None:
    """Free the memory of the loaded model, once the answer under way is there. Raises Cancelled while it waits."""
    while not _RESIDENT.lock.acquire(timeout=_LOCK_SECONDS):
        progress.check_cancelled()
    try:
        _RESIDENT.forget()
    finally:
        _RESIDENT.lock.release()


def _answer(
    request: WhatIf, layer: Layer, treatment: Treatment, treated: Treated, notes: tuple[str, ...], started: float
) -> WhatIfAnswer:
    return WhatIfAnswer(
        layer=layer.name,
        treatment=request.treatment.tag,
        key=request.treatment.key,
        sqnr_db=treated.sqnr_db,
        bytes_after=layer.nbytes if treatment.keeps else treatment.bytes_after(layer),
        output_error=treated.output_error,
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def _obstacle(checkpoint: Checkpoint) -> str:
    if not checkpoint.architecture:
        return "no config.json says how the network computes"
    needed = _VALUE_BYTES * checkpoint.parameters
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else psutil.virtual_memory().available
    if _RESIDENT.holds(checkpoint) or needed <= MEMORY_SHARE * free:
        return ""
    return f"the model would take {byte_text(needed)} of the {byte_text(free)} that are free"


@dataclass(frozen=True)
class _Question:
    """What all questions to one loaded model have in common."""

    identity: str
    text: str
    windows: int
    window_tokens: int
    calibration: object
    seed: int


class _Resident:
    """One loaded model at most, with the answers of the original."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._question: _Question | None = None
        self._context: SensitivityContext | None = None

    def holds(self, checkpoint: Checkpoint) -> bool:
        return self._question is not None and self._question.identity == checkpoint_identity(checkpoint)

    def context(self, request: WhatIf, weights: Weights, progress: Progress) -> SensitivityContext:
        """Raises CheckpointError when the checkpoint cannot be run, UserError for a bad text."""
        checkpoint = weights.checkpoint
        question = _Question(
            checkpoint_identity(checkpoint),
            request.text,
            request.windows,
            request.window_tokens,
            request.calibration,
            request.seed,
        )
        with self.lock:
            if self._context is None or question != self._question:
                self.forget()
                ids = text_windows(checkpoint, request.text, request.windows, request.window_tokens).ids
                few = max(1, SHOWN_TOKENS // request.calibration.window_tokens)
                calibration = replace(request.calibration, windows=min(few, request.calibration.windows))
                shown = calibration_text(checkpoint, calibration, request.seed).ids
                order = [layer for layer in checkpoint.layers if layer.kind == "linear"]
                made = SensitivityContext(weights, ids, shown, order, NullProgress())
                progress.check_cancelled()
                made.prepare()
                self._question, self._context = question, made
            return self._context

    def forget(self) -> None:
        with self.lock:
            self._question = self._context = None


_RESIDENT = _Resident()
