"""The last step of a job whose recipe polishes: layers are solved; what can be tuned of them is, and recorded again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from benchvise.core.blockwise.blockwise_run import job_identity
from benchvise.core.blockwise.calibration import CalibrationText
from benchvise.core.blockwise.recorder import Recorder
from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.compress.quality import Quality
from benchvise.core.evaluate.divergence import Diverged
from benchvise.core.evaluate.forward import diverged
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import Plan
from benchvise.core.runtime.build import load_model
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.tuning.polish import polish
from benchvise.core.tuning.tuned_model import Tuned, TunedModel
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.weights.weights import OriginalWeights, RunWeights
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import Workspace

WHY = "kept by the recipe, tuned by its polish"


class Polishing:
    """Polishes the layers of `run`. The original and the compressed network are in memory as a whole meanwhile."""

    def __init__(
        self,
        plan: Plan,
        number: int,
        run: RunRecord,
        workspace: Workspace,
        text: CalibrationText,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._settings = plan.recipe.tuning[number]
        self._run = run
        self._text = text
        self._progress = progress
        identity = hashlib.sha256(f"{job_identity(plan, text)} tuned {number}".encode()).hexdigest()
        self._recorder = Recorder(run, workspace, identity, progress)

    def earlier(self) -> tuple[LayerCompressed, ...] | None:
        """The layers as an earlier process polished them; None when it did not come to that."""
        rows = self._plan.treated_rows
        if not all(self._recorder.has(row) for row in rows):
            return None
        return tuple(self._recorder.earlier(row) for row in rows)

    def carry_out(self, layers: Sequence[LayerCompressed]) -> tuple[LayerCompressed, ...]:
        """layers: what was told of the treated layers when they were solved. Raises CheckpointError and OutputError."""
        checkpoint = self._plan.checkpoint
        treatments = {row.layer.name: row.treatment for row in self._plan.treated_rows}
        weights = RunWeights(checkpoint.path, weights_of(self._plan.operated), treatments, self._run.layer_files)
        tuned = TunedModel(weights, self._progress)
        original = load_model(OriginalWeights(self._plan.source), progress=self._progress)
        try:
            found = polish(tuned, original, self._text.ids, self._settings, self._plan.recipe.seed, self._progress)
        except Diverged as error:
            raise diverged(checkpoint.path) from error
        for note in found.notes:
            self._progress.note(note)
        told = {layer.name: layer for layer in layers}
        for part in found.parts:
            if part.treatment.keeps:
                self._recorder.keep_changed(part.layer, part.result()["weight"], WHY)
        rewritten = {part.layer.name: self._keep(part, told[part.layer.name]) for part in found.parts if part.tunable}
        return tuple(rewritten.get(layer.name, layer) for layer in layers)

    def _keep(self, part: Tuned, told: LayerCompressed) -> LayerCompressed:
        stored = part.result()
        result = replace(told, notes=(*told.notes, "polished"))
        if not self._plan.recipe.transforms:  # else the weight as it was solved is no longer known
            quality = _quality(part, stored, weights_of(self._plan.operated).dense(part.layer))
            result = replace(result, sqnr_db=quality.sqnr_db, max_error=quality.max_error, zeros=quality.zeros)
        return self._recorder.keep_again(part.layer, part.treatment, stored, result)


def _quality(part: Tuned, stored: dict[str, Tensor], original: Tensor) -> Quality:
    layer, scheme = part.layer, part.treatment.scheme
    rows, columns = layer.matrix_shape
    quality = Quality()
    before = as_matrix(layer, original).contiguous()
    quality.add(before, arithmetic_of(scheme).decode(scheme, stored, 0, rows, columns))
    return quality
