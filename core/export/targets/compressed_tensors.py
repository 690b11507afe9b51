"""compressed-tensors: codes and scales of the layers that loaders take packed, the others dense."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.checkpoint.records import Checkpoint, Layer, StoredTensor
from benchvise.core.checkpoint.tying import tied_head
from benchvise.core.export.dense_layer import dense_layer
from benchvise.core.export.export_plan import ExportPlan, PlannedLayer, TreatmentOf, is_expert_matrix
from benchvise.core.export.export_warnings import adapted, full_inputs, written_dense
from benchvise.core.export.layouts.packed_layout import PACKED, PackedLayout
from benchvise.core.export.layouts.registry import PACKED_FORMS, layout_of, packing_problem
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.quantization_config import quantization_config
from benchvise.core.export.targets.safetensors_target import SafetensorsTarget
from benchvise.core.methods.activations import INPUT_SCALE
from benchvise.core.recipe.recipe import Treatment

if TYPE_CHECKING:
    from torch import Tensor

    from benchvise.core.weights.weights import Weights

_AS_STORED = ("weight_global_scale", INPUT_SCALE)


@dataclass(frozen=True)
class CompressedLayer(PlannedLayer):
    """A layer written as codes and scales under `treatment`."""

    layout: PackedLayout
    treatment: Treatment

    def tensors(self) -> tuple[StoredTensor, ...]:
        form = PACKED_FORMS[type(self.treatment.scheme)]
        written = replace(self.treatment, scheme=form.with_written_scales(self.treatment.scheme))
        stored = {tensor.name: tensor for tensor in written.storage(self.layer)}
        scale = stored["weight_scale"]
        scales = (1,) if self.layout.strategy == "tensor" else scale.shape
        tensors = [
            StoredTensor("weight_scale", self.layout.scale_dtype or scale.dtype, scales),
            *form.tensors(self.layer, self.layout),
        ]
        if self.layout.packs_zero_points:
            tensors.append(stored["weight_zero_point"])
        elif not self.layout.symmetric:
            tensors.append(StoredTensor("weight_zero_point", "int8", scales))
        tensors += [stored[name] for name in _AS_STORED if name in stored]
        return tuple(replace(tensor, name=f"{self.layer.name}.{tensor.name}") for tensor in tensors)

    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        stored = weights.stored(self.layer)
        scheme = self.treatment.scheme
        for name, values in PACKED_FORMS[type(scheme)].blocks(self.layer, scheme, self.layout, stored):
            yield f"{self.layer.name}.{name}", values
        for name in _AS_STORED:
            if name in stored:
                yield f"{self.layer.name}.{name}", stored[name]


class CompressedTensors(SafetensorsTarget):
    key: ClassVar[str] = "compressed-tensors"
    title: ClassVar[str] = "compressed-tensors"
    summary: ClassVar[str] = "integer and floating codes with their scales, and a `quantization_config`"
    source: ClassVar[str] = "vllm-project/compressed-tensors, compressors"
    loaded_by: ClassVar[str] = "`transformers` with the `compressed-tensors` package; vLLM (symmetric 4 and 8 bits)"
    verified_with: ClassVar[str] = "`transformers` (logits); the `compressed-tensors` package decodes equal values"
    runtimes: ClassVar[tuple[str, ...]] = ("transformers", "vllm")
    as_original: ClassVar[bool] = True
    preference: ClassVar[int] = 2
    loader_package: ClassVar[str] = "compressed_tensors"
    zero_points: ClassVar[frozenset[int]] = frozenset()
    """Bits of codes beside which the loader takes packed zero points."""

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        head = tied_head(checkpoint.config)
        layers: list[PlannedLayer] = []
        reasons: dict[str, list[tuple[str, str]]] = {}
        changed: dict[tuple[str, str], list[str]] = {}
        inputs: list[str] = []
        for layer in checkpoint.layers:
            treatment = treatment_of(layer)
            problem = "" if treatment.keeps else self._problem(treatment, layer, modules)
            if problem:
                reasons.setdefault(problem, []).append((layer.name, treatment.tag))
            if problem or treatment.keeps:
                layers.append(dense_layer(layer, head))
                inputs += [layer.name] if treatment.activations is not None else []
                continue
            layout = self._layout(treatment)
            layers.append(CompressedLayer(layer, layout, treatment))
            for form in PACKED_FORMS[type(treatment.scheme)].adaptations(treatment.scheme, layout):
                changed.setdefault((treatment.scheme.tag, form), []).append(layer.name)
        return ExportPlan(
            self.key,
            checkpoint,
            tuple(layers),
            (*written_dense(reasons), *adapted(changed), *full_inputs(inputs)),
            modules,
            _refusal(checkpoint, layers, reasons, modules),
        )

    def _problem(self, treatment: Treatment, layer: Layer, modules: NetworkModules | None) -> str:
        """Why loaders would not take the layer packed, "" when they do."""
        problem = packing_problem(treatment.scheme, layer) or _no_linear(layer)
        if problem or modules is None or is_expert_matrix(layer):
            return problem
        return _module_problem(
            layer, modules, PACKED_FORMS[type(treatment.scheme)].tensors(layer, self._layout(treatment))
        )

    def _layout(self, treatment: Treatment) -> PackedLayout:
        return layout_of(treatment, self.zero_points)

    def quantization(self, plan: ExportPlan) -> dict[str, object]:
        paths = plan.modules.paths if plan.modules is not None else {}
        packed = {paths.get(layer.name, layer.name): layout for layer, layout in plan.packed()}
        return quantization_config(packed, _dense_modules(plan, packed.keys())) if packed else {}


def _no_linear(layer: Layer) -> str:
    """Why loaders take no such layer packed, whatever its codes; "" when they do."""
    if layer.transposed:
        return "its weight is stored transposed, and only torch Linear modules can be packed"
    if layer.tied:
        return f"it is tied to {', '.join(layer.tied)}, and loaders do not share packed weights"
    if layer.kind != "linear" or len(layer.shape) != 2 or layer.tensor.name != f"{layer.name}.weight":
        return f"it is no Linear module ({layer.role}, shape {list(layer.shape)})"
    if layer.role == "mlp.router":
        return "loaders do not take packed routers"
    return ""


def _module_problem(layer: Layer, modules: NetworkModules, tensors: Sequence[StoredTensor]) -> str:
    path = modules.paths.get(layer.name)
    if path is None:
        return "the network has no Linear module of that name"
    if path in modules.initialised and all(tensor.name != "weight" for tensor in tensors):
        return (
            "this network's own initialisation, which transformers carries out while loading, needs the module's "
            "dense weight"
        )
    return ""


def _refusal(
    checkpoint: Checkpoint,
    layers: Sequence[PlannedLayer],
    reasons: Iterable[str],
    modules: NetworkModules | None,
) -> str:
    if not checkpoint.architecture:
        return "The checkpoint names no architecture, so no runtime could load it packed"
    if all(planned.layout is None for planned in layers):
        why = f": {'; '.join(reasons)}" if reasons else ""
        return f"No layer of this run can be packed{why}"
    if modules is not None and modules.rebuilt:
        return (
            f"For packed folders transformers replaces {len(modules.rebuilt)} modules of this network "
            f"({modules.rebuilt[0]}, …) by others, for which the checkpoint has no tensors"
        )
    layouts = {planned.layout for planned in layers if is_expert_matrix(planned.layer)}
    similar = all(layout and layout.symmetric and layout.format == PACKED for layout in layouts)
    if len(layouts) > 1 or not similar:
        return "Loaders take packed layers only when all experts are packed the same way, and symmetric"
    return ""


def _dense_modules(plan: ExportPlan, packed: Iterable[str]) -> list[str]:
    """Names of the modules with a matrix that stays dense, tied ones included: what a config has to ignore."""
    stored = [
        name
        for planned in plan.layers
        if planned.layout is None and len(planned.layer.shape) == 2
        for name in ((planned.layer.name,) if planned.layer.kind != "embedding" else ()) + planned.layer.tied
    ]
    linear = plan.modules.linear if plan.modules is not None else frozenset()
    return list(dict.fromkeys([*stored, *sorted(linear - set(packed))]))
