"""Open the weights that a source names."""

from __future__ import annotations

from pathlib import Path

from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.recipe.plan import make_plan
from benchvise.core.surgery.settle import operate_settled
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.weights.packed_folder import PackedFolderWeights
from benchvise.core.weights.quantization_config import PACKED_METHOD
from benchvise.core.weights.weights import OriginalWeights, RunWeights, Weights
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import RUN_PREFIX, Workspace


def open_weights(source: str, workspace: str = "") -> Weights:
    """The weights of a folder, a file, or a run ("run:ID") of the workspace.

    Raises CheckpointError when they cannot be read, UserError when there is no such run.
    """
    if source.startswith(RUN_PREFIX):
        return run_weights(Workspace(workspace).run(source))
    checkpoint = open_checkpoint(source)
    if checkpoint.undecoded or (checkpoint.quantization or {}).get("quant_method") == PACKED_METHOD:
        return PackedFolderWeights(checkpoint)
    return OriginalWeights(checkpoint)


def run_weights(run: RunRecord) -> RunWeights:
    """The weights as a finished run left them. Raises CheckpointError when its checkpoint is gone or has changed."""
    if run.state != "done":
        raise CheckpointError(
            f"Run {run.id} is not finished ({run.state})", where=str(run.folder), remedy="Resume it first."
        )
    if not Path(run.checkpoint_path).exists():
        raise CheckpointError(
            "The checkpoint that the run was made from is not there any more",
            where=run.checkpoint_path,
            remedy="Put it back: layers that were not compressed are read from it.",
        )
    checkpoint = open_checkpoint(run.checkpoint_path)
    _check_unchanged(run, checkpoint)
    plan = make_plan(checkpoint, run.recipe)
    treatments = {row.layer.name: row.treatment for row in plan.treated_rows}
    operated = plan.operated
    if not operated.decided:
        operated = operate_settled(checkpoint, run.recipe.surgery, run.surgery_files)
    return RunWeights(f"{RUN_PREFIX}{run.id}", weights_of(operated), treatments, run.layer_files)


def _check_unchanged(run: RunRecord, checkpoint: Checkpoint) -> None:
    if checkpoint_identity(checkpoint) != run.manifest.checkpoint_identity:
        raise CheckpointError(
            "The checkpoint has changed since the run was made",
            where=checkpoint.path,
            remedy="Compress it again.",
        )
