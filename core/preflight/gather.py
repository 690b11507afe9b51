"""What a check has to know of text, network and machine, found without carrying anything out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from benchvise.core.blockwise.calibration import calibration_text
from benchvise.core.blockwise.network import Network
from benchvise.core.blockwise.observed_layers import observed_layers
from benchvise.core.blockwise.transforming import Transforms
from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.evaluate.inputs import inputs_of
from benchvise.core.export.choose_target import key_for, plan_export
from benchvise.core.export.export import may_be_written_by
from benchvise.core.export.loadable_plan import tried_plan
from benchvise.core.export.loader_modules import modules_of
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.targets.registry import target_of
from benchvise.core.job.job import walks
from benchvise.core.job.surgery_proof import prove_surgery
from benchvise.core.language import capital, counted, message
from benchvise.core.memory import machine_memory
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.surgery import Surgery
from benchvise.core.preflight.facts import Facts, RunsDense, Surprise, TextFound
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Estimate
from benchvise.core.recent import Recent
from benchvise.core.recipe.plan import Plan
from benchvise.core.runtime.architecture import architecture_of, language_model_of
from benchvise.core.runtime.build import compute_device
from benchvise.core.runtime.dense_layers import dense_layers
from benchvise.core.runtime.machine import machine_key
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.workspace.workspace import Workspace

ENDS_BYTES = 1 << 30
"""Float32 bytes around the blocks above which the network is not built for a check."""


@dataclass(frozen=True)
class _Proved:
    refusal: UserError | None = None


_PROVED: Recent[tuple[str, str, tuple[Surgery, ...]], _Proved] = Recent(8)
"""By checkpoint, config and surgery: a panel asks again at every edit, and the network is built twice for an answer."""


def gather(plan: Plan, request: CheckRecipe) -> Facts:
    """The facts for the plan of a request on a checkpoint that has files."""
    checkpoint = plan.checkpoint
    memory_free, memory_total = machine_memory()
    forecasts = _forecasts(plan, request.workspace)
    modules = modules_of(checkpoint)
    key = key_for(request.target, request.out, request.runtime)
    _, tried = tried_plan(lambda tried: plan_export(plan, key, modules, tried))
    return Facts(
        modules=modules,
        tried=tried,
        text=_text(plan),
        tuning_texts=tuple(_text(plan, step.samples) if step.samples else None for step in plan.recipe.tuning),
        surprises=tuple(_surprises(plan)),
        dense=_dense(plan),
        linear_bytes=sum(row.layer.nbytes for row in plan.treated_rows if row.layer.kind == "linear"),
        memory_free=memory_free,
        memory_total=memory_total,
        gpu_free=torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 0,
        peak_bytes=forecasts.get("peak_bytes"),
        seconds=forecasts.get("seconds"),
        walks=walks(plan),
        own_output=request.resume and _own_output(plan, request, modules),
    )


def _own_output(plan: Plan, request: CheckRecipe, modules: NetworkModules | None) -> bool:
    earlier = Workspace(request.workspace).resumable(plan)
    if earlier is None or not request.out:
        return False
    export_plan = plan_export(plan, key_for(request.target, request.out, request.runtime), modules)
    suffix = target_of(export_plan.target).file_suffix(request.out)
    return may_be_written_by(earlier, Path(request.out).expanduser(), suffix)


def _forecasts(plan: Plan, workspace: str) -> dict[str, Estimate]:
    """The last forecast of each kind that was kept for this recipe, and made on a machine like this."""
    kept = Workspace(workspace).forecasts.read(checkpoint_identity(plan.source), plan.recipe.digest)
    here = ("", machine_key(compute_device()))
    return {each.kind: each.estimate for each in kept if each.machine in here}


def _dense(plan: Plan) -> tuple[RunsDense, ...]:
    if not plan.checkpoint.architecture:
        return ()
    treatments = {row.layer.name: row.treatment for row in plan.treated_rows}
    try:
        found = dense_layers(plan.checkpoint, treatments, compute_device())
    except CheckpointError:  # what does not run at all is told elsewhere
        return ()
    return tuple(
        RunsDense(reason, tuple(layer.name for layer in layers), sum(layer.nbytes for layer in layers))
        for reason, layers in found.items()
    )


def _text(plan: Plan, samples: int | None = None) -> TextFound | None:
    """What the text gives, cut into as many samples as the recipe's calibration or a tuning step asks for."""
    if plan.calibration is None:
        return None
    asked, text = plan.calibration, plan.calibration.text
    if samples is not None:
        asked = replace(asked, windows=samples)
    stamp = Path(text).stat().st_mtime_ns if text and Path(text).is_file() else 0
    return _read(plan.checkpoint.path, asked, plan.recipe.seed, stamp)


@lru_cache(maxsize=8)  # a panel asks again at every edit, and tokenising takes its time
def _read(path: str, calibration: Calibration, seed: int, stamp: int) -> TextFound:  # noqa: ARG001 - a changed file is another
    try:
        found = calibration_text(open_checkpoint(path), calibration, seed)
    except UserError as error:
        return TextFound(refusal=error)
    return TextFound(len(found.ids), calibration.window_tokens if found.ids.is_floating_point() else found.ids.shape[1])


def _surprises(plan: Plan) -> Iterator[Surprise]:
    """What the run would say of the network, found by beginning it: no block is loaded, no layer is solved."""
    refusal = _refused_surgery(plan)
    if refusal is not None:
        yield Surprise("surgery", refusal.what, _sentences(refusal), refuses=True)
        return
    if not walks(plan):
        return
    yield from _in_general(plan)
    try:
        (language_model_of if plan.recipe.tuning else architecture_of)(plan.checkpoint)
        if _ends_bytes(plan.checkpoint) > ENDS_BYTES:
            detail = message(
                "The network is large, so it is not built for a check. What it does not allow is told when it runs."
            )
            yield Surprise(
                "transform" if plan.recipe.transforms else "calibration", message("The network was not tried"), detail
            )
            return
        yield from _of_network(plan)
    except UserError as error:
        yield Surprise("calibration", error.what, error.remedy, refuses=True)


def _refused_surgery(plan: Plan) -> UserError | None:
    """Why a run would not carry the recipe's surgery out; None when it would."""
    if not plan.operated.changes:
        return None
    config = json.dumps(plan.source.config, sort_keys=True, default=str)
    key = (checkpoint_identity(plan.source), config, plan.recipe.surgery)
    known = _PROVED.take(key)
    if known is None:
        known = _proved(plan)
    _PROVED.put(key, known)
    return known.refusal


def _proved(plan: Plan) -> _Proved:
    try:
        prove_surgery(plan.operated)
    except UserError as error:
        return _Proved(error)
    return _Proved()


def _sentences(error: UserError) -> str:
    return f"{error.where}. {error.remedy}" if error.where else error.remedy


def _ends_bytes(checkpoint: Checkpoint) -> int:
    return 4 * sum(layer.parameters for layer in checkpoint.layers if layer.depth is None)


def _in_general(plan: Plan) -> Iterator[Surprise]:
    """What only calibration can tell."""
    for transform in plan.recipe.transforms:
        if transform.reach == "block":
            title = message("{title} is left out wherever it gains too little", title=transform.title)
            yield Surprise(
                "transform", title, message("Block by block, as calibration shows; each is told in the run's log.")
            )
    learned = [row.layer for row in plan.treated_rows if row.treatment.needs_calibration]
    experts = any(layer.routed_expert for layer in learned)
    if learned:
        detail = (
            message(
                "Weights of inputs that are always zero are rounded to nearest; damping rises where moments are "
                "singular"
            )
            + (message("; experts that see few tokens borrow from the others. ") if experts else ". ")
            + message("Each is told with its layer.")
        )
        yield Surprise("learning", message("Where calibration shows too little, solvers fall back"), detail)


def _of_network(plan: Plan) -> Iterator[Surprise]:
    said = _Notes()
    asked = plan.calibration
    sample = None if asked is None else inputs_of(plan.checkpoint, asked.text, 1)
    network = Network(weights_of(plan.operated.provisional), said, sample)
    for note in network.notes:
        yield Surprise("network", note)
    try:
        Transforms(plan.recipe, network, said).change_ends()
    except UserError as error:
        yield Surprise("transform", error.what, error.remedy, refuses=True)
    for note in said.notes:
        yield Surprise("transform", note)
    yield from _blind(plan, network)


def _blind(plan: Plan, network: Network) -> Iterator[Surprise]:
    """Layers whose inputs cannot be seen although their treatment asks for them."""
    blind: dict[str, list[str]] = {}
    try:
        for name, reason in observed_layers(network.model, plan.treated_rows).unobservable.items():
            blind.setdefault(reason, []).append(name)
    except UserError as error:
        yield Surprise("calibration", error.what, error.remedy, (error.where,), refuses=True)
    for reason, names in blind.items():
        title = counted(
            len(names),
            "{count} layer is solved from the weights alone",
            "{count} layers are solved from the weights alone",
        )
        yield Surprise("calibration", title, message("{sentence}.", sentence=capital(reason)), tuple(names))


class _Notes(NullProgress):
    """Progress that remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)
