"""The singular values of a layer, what each rank would keep, and what it would cost at the output."""

from __future__ import annotations

from benchvise.core.allocate.ladder import bit_ladder
from benchvise.core.blockwise.calibration import calibration_text
from benchvise.core.blockwise.curvature import Factors, factors
from benchvise.core.blockwise.estimated_kl import estimated
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.reopen import LAST_OPENED
from benchvise.core.compress.whole_matrix import matrix_of
from benchvise.core.errors import CheckpointError
from benchvise.core.methods.low_rank import LowRank
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import LookSpectrum
from benchvise.core.protocol.results import Floats, LookedSpectrum, SameInBits
from benchvise.core.recipe.fitting import fitted
from benchvise.core.runtime.build import load_model
from benchvise.core.schemes.factors import added_kl, singular_values
from benchvise.core.weights.weights import OriginalWeights

SEED = 0


def look_spectrum(request: LookSpectrum, progress: Progress) -> LookedSpectrum:
    """Singular values of the weight as a matrix; with `estimate` also the KL of each rank and of integers instead.

    Raises CheckpointError for a layer that is not there, is no floating-point matrix or is no linear module, and for a
    checkpoint that cannot be run where the KL is asked for.
    """
    weights = OriginalWeights(LAST_OPENED.open(request.path))
    layer = weights.checkpoint.layer(request.layer)
    if not layer.compressible:
        raise CheckpointError(
            f"'{layer.name}' ({layer.dtype}, shape {list(layer.shape)}) is no floating-point matrix",
            where=layer.tensor.file,
            remedy="Choose a weight of at least two dimensions.",
        )
    matrix = matrix_of(layer, weights.dense(layer))
    progress.check_cancelled()
    known = _curvature(weights, layer, request, progress) if request.estimate else None
    kl: Floats | None = None
    bits: tuple[SameInBits, ...] = ()
    if known is not None:
        kl = added_kl(singular_values(matrix, known.inputs.cpu(), known.gradients.cpu())).numpy()
        bits = tuple(_in_bits(weights, layer, known, progress))
    scheme = LowRank(criterion="rank", rank=1)
    return LookedSpectrum(
        layer.name,
        layer.matrix_shape,
        layer.nbytes,
        scheme.bytes_after(layer),
        scheme.largest_inner_width(layer),
        singular_values(matrix).numpy(),
        kl,
        bits,
    )


def _curvature(weights: OriginalWeights, layer: Layer, request: LookSpectrum, progress: Progress) -> Factors:
    ids = calibration_text(weights.checkpoint, request.calibration, SEED).ids
    model = load_model(weights, progress=progress)
    progress.start(ids.numel(), "tokens")
    found = factors(model, ids, [layer], progress).get(layer.name)
    if found is None:
        raise CheckpointError(
            f"'{layer.name}' is no linear module of the network, so that its KL cannot be estimated",
            where=request.path,
            remedy="Look at its spectrum without an estimate.",
        )
    return found


def _in_bits(weights: OriginalWeights, layer: Layer, known: Factors, progress: Progress) -> list[SameInBits]:
    found = []
    for asked in bit_ladder():
        progress.check_cancelled()
        treatment = fitted(asked, layer)[0]
        kl = estimated(weights, layer, treatment, known, progress)
        found.append(SameInBits(treatment.tag, treatment.bytes_after(layer), kl))
    return found
