"""What the workspace keeps of a checkpoint's sensitivities: read when it is opened, without a model or torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchvise.core.allocate.prediction import joint_effects_of
from benchvise.core.checkpoint.identity import checkpoint_identity, tensor_identities
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.checkpoint.reopen import LAST_OPENED
from benchvise.core.errors import RecipeError
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import KnownSensitivity
from benchvise.core.protocol.results import Sensitivity, SensitivityCell
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.workspace.sensitivities import METHODS, SensitivityFile
from benchvise.core.workspace.workspace import Workspace

NOTHING = Sensitivity((), 0, 0.0)


def known_sensitivity(request: KnownSensitivity, progress: Progress) -> Sensitivity:
    """The newest measurement of the checkpoint as it is now; no cells and no key when there is none.

    Of a checkpoint that has changed since, the layers in files that did not; what was measured of several layers at
    once is then left out.
    Raises CheckpointError when the checkpoint cannot be opened or one of its files is gone.
    """
    checkpoint = LAST_OPENED.open(request.path)
    identity = checkpoint_identity(checkpoint)
    for path in Workspace(request.workspace).sensitivity_files():
        progress.check_cancelled()
        kept = SensitivityFile(path)
        if kept.asked is None:
            continue
        whole = kept.identity == identity
        cells = tuple(_cells(_measured(checkpoint, kept, whole=whole), kept))
        if cells:
            asked, joint = kept.asked, joint_effects_of(kept, kept.joint_effects()) if whole else ()
            return Sensitivity(
                cells, kept.tokens, 0.0, key=path.stem, joint_effects=joint, treatments=kept.treatments, asked=asked
            )
    return NOTHING


def _measured(checkpoint: Checkpoint, kept: SensitivityFile, *, whole: bool) -> list[Layer]:
    """The layers that were measured as they are now. whole: whether no file has changed since."""
    names = set(kept.layers)
    layers = [layer for layer in checkpoint.layers if layer.name in names]
    if whole:
        return layers
    now = tensor_identities(layers)
    return [layer for layer in layers if kept.of_tensor(layer.name, now[layer.name])]


def _cells(layers: Sequence[Layer], kept: SensitivityFile) -> Iterator[SensitivityCell]:
    for layer in layers:
        for treatment in kept.treatments:
            try:
                fit, _ = fitted(treatment, layer)
            except RecipeError:
                continue
            cell = _cell(kept, layer.name, treatment, fit)
            if cell is not None:
                yield cell


def _cell(kept: SensitivityFile, layer: str, treatment: Treatment, fit: Treatment) -> SensitivityCell | None:
    """By the method that is believed first; fit: the treatment as it can be carried out on the layer."""
    for method in METHODS:
        found = kept.latest(layer, fit, method)
        if found is not None:
            return SensitivityCell(
                layer, treatment.tag, found.kl, True, method, found.output_error, found.sqnr_db, treatment.key
            )
    return None
