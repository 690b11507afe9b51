"""The last stage of a job: each tuning step of the recipe trains the compressed network and records it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchvise.core.blockwise.blockwise_run import job_identity
from benchvise.core.blockwise.calibration import CalibrationText, calibration_text
from benchvise.core.blockwise.recorder import Recorder
from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.compress.quality import Quality
from benchvise.core.compress.record import is_whole
from benchvise.core.errors import CheckpointError
from benchvise.core.evaluate.divergence import Diverged
from benchvise.core.evaluate.forward import diverged
from benchvise.core.language import message
from benchvise.core.methods.tuning import MAX_PASSES, Tuning
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.recipe import KEEP
from benchvise.core.runtime.architecture import language_model_of
from benchvise.core.runtime.build import load_model
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.tuning.loop import Trained, TuningLoop
from benchvise.core.tuning.reference import ReferenceOutputs
from benchvise.core.tuning.registry import trainee_of
from benchvise.core.tuning.state import TuningStateFile
from benchvise.core.tuning.trainee import Rewritten, Trainee
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.weights.weights import OriginalWeights, RunWeights
from benchvise.core.wording import learned_often
from benchvise.core.workspace.atomic_files import write_text
from benchvise.core.workspace.journal import JournalEntry
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import Workspace

MARKER = "tuning.json"


@dataclass(frozen=True)
class _Step:
    """text: what it learns from."""

    number: int
    settings: Tuning
    identity: str
    recorder: Recorder
    text: CalibrationText


class TuningStage:
    """The tuning steps of `plan`. The original and the compressed network are in memory as a whole meanwhile.

    What finished is not done again: neither what comes before the stage, nor steps before the one that was cut off, nor
    the part of that one up to its last saved state.
    """

    def __init__(
        self, plan: Plan, run: RunRecord, workspace: Workspace, text: CalibrationText, progress: Progress
    ) -> None:
        """Raises CheckpointError for a network that predicts no tokens: the loss is over them."""
        language_model_of(plan.checkpoint)
        self._plan = plan
        self._run = run
        self._text = text
        self._progress = progress
        self._job = job_identity(plan, text)
        self._marker = run.folder / MARKER
        self._steps = [self._step(number, settings, workspace) for number, settings in enumerate(plan.recipe.tuning)]

    def _step(self, number: int, settings: Tuning, workspace: Workspace) -> _Step:
        text = self._text_of(settings)
        own = "" if text is self._text else f" {text.digest}"
        identity = hashlib.sha256(f"{self._job} tuned {number}{own}".encode()).hexdigest()
        return _Step(number, settings, identity, Recorder(self._run, workspace, identity, self._progress), text)

    def _text_of(self, settings: Tuning) -> CalibrationText:
        """The calibration text, of which a step may ask for other samples. Raises UserError."""
        if settings.samples is None or self._plan.calibration is None:
            return self._text
        asked = replace(self._plan.calibration, windows=settings.samples)
        return calibration_text(self._plan.checkpoint, asked, self._plan.recipe.seed)

    def earlier(self) -> tuple[LayerCompressed, ...] | None:
        """The treated layers as an earlier process left them when it came to this stage, or was through with it.

        None when it did not come to it, or when a record is missing.
        """
        finished = self._finished()
        if finished is None:
            return None
        entries = self._entries_before(finished)
        for row in self._plan.rows():
            entry = entries.get(row.layer.name)
            treatment = KEEP if row.treatment.keeps else row.treatment
            if entry is None and not row.treatment.keeps:
                return None
            if entry is not None and not is_whole(self._file(entry), row.layer, treatment, entry.sha256):
                return None
        found = tuple(replace(entries[row.layer.name].result, resumed=True) for row in self._plan.treated_rows)
        for layer in found:
            self._progress.result(layer)
        return found

    def carry_out(self, layers: Sequence[LayerCompressed]) -> tuple[LayerCompressed, ...]:
        """layers: what is known of the treated layers so far. Raises CheckpointError and OutputError."""
        finished = self._finished()
        if finished is None:
            finished = self._mark(0)
        results = {layer.name: layer for layer in layers}
        for step in self._steps[finished:]:
            results |= self._carried_out(step, results)
            self._mark(step.number + 1)
            self._state(step).remove()
        return tuple(results[layer.name] for layer in layers)

    def _carried_out(self, step: _Step, results: dict[str, LayerCompressed]) -> dict[str, LayerCompressed]:
        """What the step changed, by the names of the layers."""
        plan, progress, ids = self._plan, self._progress, step.text.ids
        treatments = {row.layer.name: row.treatment for row in plan.treated_rows}
        files = {name: self._file(entry) for name, entry in self._entries_before(step.number).items()}
        weights = RunWeights(
            plan.source.path,
            weights_of(plan.operated),
            treatments,
            files,
            transformed=bool(plan.recipe.transforms),
        )
        trainee = trainee_of(step.settings)(weights, step.settings, progress)
        original = load_model(OriginalWeights(plan.source), progress=progress)
        reference = ReferenceOutputs(original, ids)
        _refuse_strangers(trainee, original, ids[:1, :2], plan.source.path)
        if not trainee.parameters:
            progress.note(message("{title} finds nothing to train", title=step.settings.title))
            return {}
        times = step.settings.passes(len(ids))
        if step.text is not self._text and times > MAX_PASSES:
            progress.note(learned_often(step.settings.title, len(ids), times))
        try:
            loop = TuningLoop(trainee, reference, ids, step.settings, plan.recipe.seed, self._state(step), progress)
            trained = loop.run()
        except Diverged as error:
            raise diverged(plan.source.path) from error
        for note in (*trainee.notes, _outcome(step.settings, trained)):
            progress.note(note)
        if not trained.gained:
            return {}
        found: dict[str, LayerCompressed] = {}
        for part in trainee.rewritten():
            if part.treatment.keeps:
                why = f"kept by the recipe, changed by {step.settings.title.lower()}"
                step.recorder.keep_changed(part.layer, part.stored["weight"], why)
            else:
                found[part.layer.name] = self._recorded(step, part, results[part.layer.name])
        return found

    def _recorded(self, step: _Step, part: Rewritten, before: LayerCompressed) -> LayerCompressed:
        result = replace(before, notes=(*before.notes, f"tuned by {step.settings.title.lower()}"))
        if not self._plan.recipe.transforms:  # else the weight as it was solved is no longer known
            quality = self._quality(part)
            result = replace(result, sqnr_db=quality.sqnr_db, max_error=quality.max_error, zeros=quality.zeros)
        return step.recorder.keep_again(part.layer, part.treatment, part.stored, result)

    def _quality(self, part: Rewritten) -> Quality:
        layer, scheme = part.layer, part.treatment.scheme
        rows, columns = layer.matrix_shape
        quality = Quality()
        before = as_matrix(layer, weights_of(self._plan.operated).dense(layer)).contiguous()
        quality.add(before, arithmetic_of(scheme).decode(scheme, part.stored, 0, rows, columns))
        return quality

    def _entries_before(self, number: int) -> dict[str, JournalEntry]:
        """By the layers' names, their last entries in the journal that no step from `number` on wrote."""
        later = {step.recorder.key(layer) for step in self._steps[number:] for layer in self._plan.checkpoint.layers}
        return {entry.result.name: entry for entry in self._run.entries() if entry.key not in later}

    def _file(self, entry: JournalEntry) -> Path:
        return self._steps[0].recorder.file(entry.key)

    def _state(self, step: _Step) -> TuningStateFile:
        return TuningStateFile(self._run.folder, step.identity)

    def _finished(self) -> int | None:
        """How many steps an earlier process finished in this very job; None when it did not come to the first."""
        try:
            found = json.loads(self._marker.read_text(encoding="utf-8"))
            return int(found["finished"]) if found["job"] == self._job else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _mark(self, finished: int) -> int:
        write_text(self._marker, json.dumps({"job": self._job, "finished": finished}) + "\n")
        return finished


def _outcome(settings: Tuning, trained: Trained) -> str:
    kl = f"KL on held-out calibration text {trained.before:.5f}"
    ended = _ENDED[trained.why].format(trained.ended, settings.steps)
    if trained.gained:
        kept = f"; the state after step {trained.kept} is kept" if trained.kept != trained.ended else ""
        return f"{settings.title}: {ended}, {kl} → {trained.after:.5f}{kept}"
    after = f"{trained.after:.5f} after" if isfinite(trained.after) else "nothing better after"
    return f"{settings.title} did not pay: {ended}, {kl} before, {after}; undone"


@torch.no_grad()
def _refuse_strangers(trainee: Trainee[Any], original: nn.Module, ids: Tensor, where: str) -> None:
    """Raises CheckpointError where the network to train and the original give nothing that can be compared."""
    reference = ReferenceOutputs(original, ids)
    ours, theirs = trainee.logits(ids).shape[-1], reference.vocabulary
    if ours != theirs:
        raise CheckpointError(
            message("The network to train has {ours} tokens and the original {theirs}", ours=ours, theirs=theirs),
            where=where,
            remedy=message("Outputs can be compared only over the same vocabulary: leave the tuning steps out."),
        )
    if not trainee.hidden:
        return
    try:
        trainee.loss(ids, reference.log_probabilities([0]), reference.hidden_states([0]))
    except ValueError as error:
        raise CheckpointError(
            message("Hidden states of the network to train and of the original have different widths"),
            where=where,
            remedy=message("Set 'hidden_states' to 0: outputs alone can be compared."),
        ) from error


_ENDED = {
    "": "{0} steps",
    "diverged": "training diverged at step {0} of {1} (a lower learning rate may not)",
    "no gain": "ended at step {0} of {1}, as held-out text no longer gained",
}
