"""What an export will write, known before anything is: every tensor with its dtype and shape, and every departure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from benchvise.core.checkpoint.records import Checkpoint, Layer, StoredTensor
from benchvise.core.checkpoint.tying import tied_head
from benchvise.core.export.compressed_layout import PACKED, Layout, adaptations, layout_of, layout_tensors
from benchvise.core.export.targets import AUTO, TARGETS, CompressedTensors, Dense, Target, target_of
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import KEEP, Treatment

MAX_NAMED = 5

TreatmentOf = Callable[[Layer], Treatment]


@dataclass(frozen=True)
class Part:
    """One layer as it will be written: packed under `treatment`, or dense when that is None.

    copies: names under which the dense tensor is written too, since no config ties them.
    """

    layer: Layer
    treatment: Treatment | None
    copies: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of a dense layer's tensors."""
        return (self.layer.tensor.name, *self.copies)

    def tensors(self) -> tuple[StoredTensor, ...]:
        if self.treatment is not None:
            return layout_tensors(self.layer, self.treatment)
        return tuple(StoredTensor(name, self.layer.dtype, self.layer.shape) for name in self.names)


@dataclass(frozen=True)
class Outline:
    """Every layer as it will be written. refusal: why no runtime would load the result, "" when one does.

    modules: names of the network's Linear modules where they are known, for the modules that a config has to ignore.
    """

    target: str
    checkpoint: Checkpoint
    parts: tuple[Part, ...]
    modules: frozenset[str]
    plan_warnings: tuple[PlanWarning, ...]
    refusal: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The departures as sentences."""
        return tuple(plan_warning.sentence for plan_warning in self.plan_warnings)

    def tensors(self) -> list[StoredTensor]:
        return [tensor for part in self.parts for tensor in part.tensors()]

    @property
    def nbytes(self) -> int:
        """Exact bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors())

    def packed(self) -> dict[str, Layout]:
        """The layout of each packed layer by the name of its module in the network."""
        full = _full_names(self.modules)
        return {
            full.get(part.layer.name, part.layer.name): layout_of(part.treatment)
            for part in self.parts
            if part.treatment is not None
        }

    def dense_modules(self) -> list[str]:
        """Names of the modules with a matrix that stays dense, tied ones included: what a config has to ignore."""
        stored = [
            name
            for part in self.parts
            if part.treatment is None and len(part.layer.shape) == 2
            for name in ((part.layer.name,) if part.layer.kind != "embedding" else ()) + part.layer.tied
        ]
        return list(dict.fromkeys([*stored, *sorted(self.modules - self.packed().keys())]))


def outline_of_plan(plan: Plan, key: str, modules: frozenset[str] | None = None) -> Outline:
    """What an export of the finished plan to the target `key` will write; as `choose_outline`."""
    treatments = {row.layer.name: row.treatment for row in plan.treated()}
    return choose_outline(key, plan.checkpoint, lambda layer: treatments.get(layer.name, KEEP), modules)


def choose_outline(
    key: str, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: frozenset[str] | None
) -> Outline:
    """The outline for the target `key`; "auto" is packed when a runtime would load the result, else dense.

    modules: names of the network's Linear modules, None where they are not known. Raises OutputError for a key that is
    no target; whether the target can hold the layers, `refusal` says.
    """
    if key != AUTO:
        return make_outline(checkpoint, treatment_of, target_of(key), modules)
    packed = make_outline(checkpoint, treatment_of, TARGETS[CompressedTensors.key], modules)
    if not packed.refusal:
        return packed
    dense = make_outline(checkpoint, treatment_of, TARGETS[Dense.key], modules)
    if not any(treatment_of(layer).bytes_after(layer) < layer.nbytes for layer in checkpoint.layers):
        return dense
    everything = f"Everything is written dense, in the original dtype. {packed.refusal}."
    plan_warning = PlanWarning("everything", everything, packed.refusal)
    return replace(dense, plan_warnings=(plan_warning, *dense.plan_warnings))


def make_outline(
    checkpoint: Checkpoint, treatment_of: TreatmentOf, target: Target, modules: frozenset[str] | None
) -> Outline:
    """Decide for each layer how `target` holds it."""
    packs = target.key == CompressedTensors.key
    head = tied_head(checkpoint.config)
    known = None if modules is None else _full_names(modules)
    parts: list[Part] = []
    reasons: dict[str, list[tuple[str, str]]] = {}
    adapted: dict[str, list[str]] = {}
    full_inputs: list[str] = []
    for layer in checkpoint.layers:
        treatment = treatment_of(layer)
        problem = target.problems(treatment, layer)
        if packs and not problem and not treatment.keeps and not is_expert(layer):
            problem = _unknown_module(layer, known)
        if problem:
            reasons.setdefault(problem, []).append((layer.name, treatment.tag))
        if problem or not packs or treatment.keeps:
            if treatment.activations is not None:
                full_inputs.append(layer.name)
            parts.append(Part(layer, None, tuple(_tensor_name(layer, tied) for tied in layer.tied if tied != head)))
            continue
        parts.append(Part(layer, treatment))
        for adaptation in adaptations(treatment):
            adapted.setdefault(f"{treatment.scheme.tag} layers are written with {adaptation}", []).append(layer.name)
    plan_warnings = (*_written_dense(reasons), *_adapted(adapted), *_full_inputs(full_inputs))
    refusal = _refusal(checkpoint, parts, reasons) if packs else ""
    return Outline(target.key, checkpoint, tuple(parts), modules or frozenset(), plan_warnings, refusal)


def is_expert(layer: Layer) -> bool:
    """Whether the layer is one expert's matrix; loaders stack those of a block into one tensor."""
    return ".experts." in layer.name and layer.kind == "linear" and len(layer.shape) == 2


def _refusal(checkpoint: Checkpoint, parts: list[Part], reasons: Iterable[str]) -> str:
    if not checkpoint.architecture:
        return "The checkpoint names no architecture, so no runtime could load it packed"
    if all(part.treatment is None for part in parts):
        why = f": {'; '.join(reasons)}" if reasons else ""
        return f"No layer of this run can be packed{why}"
    layouts = {part.treatment and layout_of(part.treatment) for part in parts if is_expert(part.layer)}
    alike = all(layout and layout.symmetric and layout.format == PACKED for layout in layouts)
    if len(layouts) > 1 or not alike:
        return "Loaders take packed layers only when all experts are packed alike, and symmetric"
    return ""


def _unknown_module(layer: Layer, known: dict[str, str] | None) -> str:
    if known is None or layer.name in known:
        return ""
    return "the network has no Linear module of that name"


def _full_names(modules: frozenset[str]) -> dict[str, str]:
    """Module names by themselves and without their first part, which checkpoints of a bare network leave out."""
    return {name.partition(".")[2]: name for name in modules} | {name: name for name in modules}


def _tensor_name(layer: Layer, tied: str) -> str:
    return f"{tied}.weight" if layer.tensor.name == f"{layer.name}.weight" else tied


def _written_dense(reasons: Mapping[str, list[tuple[str, str]]]) -> Iterator[PlanWarning]:
    for reason, layers in reasons.items():
        one = len(layers) == 1
        sentence = (
            f"{_named([f'{name} ({tag})' for name, tag in layers])} {'is' if one else 'are'} written dense, with the "
            f"values computed here, in the original dtype: {reason}"
        )
        yield PlanWarning("dense", sentence, reason, tuple(name for name, _ in layers))


def _adapted(layers: Mapping[str, list[str]]) -> Iterator[PlanWarning]:
    for what, names in layers.items():
        yield PlanWarning("adapted", f"{len(names)} {what}. First: {_named(names)}", what, tuple(names))


def _full_inputs(names: list[str]) -> Iterator[PlanWarning]:
    if names:
        reason = "a dense tensor cannot say that its inputs are quantised"
        sentence = (
            f"The inputs of {len(names)} layers are quantised in the run, which a dense tensor cannot say: whoever "
            f"loads it computes with inputs as they are. First: {_named(names)}"
        )
        yield PlanWarning("inputs", sentence, reason, tuple(names))


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
