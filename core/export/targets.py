"""The formats a run can be exported to, declared once: the dialog, the command line and the exporter read this list."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import OutputError
from benchvise.core.export.compressed_layout import scheme_problem
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.settings import did_you_mean

AUTO = "auto"


@dataclass(frozen=True)
class Target(ABC):
    """A format that named runtimes load."""

    key: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    runtimes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def problems(self, treatment: Treatment, layer: Layer) -> str:
        """Why the target cannot hold the layer under this treatment, "" when it can; such a layer is written dense."""


@dataclass(frozen=True)
class Dense(Target):
    key: ClassVar[str] = "dense"
    title: ClassVar[str] = "Dense safetensors"
    summary: ClassVar[str] = "Every tensor in its original dtype, with the values the compressed layers compute with."
    runtimes: ClassVar[tuple[str, ...]] = ("everything that loads the original",)

    def problems(self, treatment: Treatment, layer: Layer) -> str:  # noqa: ARG002 - every layer has dense values
        return ""


@dataclass(frozen=True)
class CompressedTensors(Target):
    key: ClassVar[str] = "compressed-tensors"
    title: ClassVar[str] = "compressed-tensors"
    summary: ClassVar[str] = "Integer and floating layers as codes with their scales, beside a quantization_config."
    runtimes: ClassVar[tuple[str, ...]] = (
        "transformers with compressed-tensors",
        "vLLM (symmetric 4 and 8 bit)",
    )

    def problems(self, treatment: Treatment, layer: Layer) -> str:
        if treatment.keeps:
            return ""
        problem = scheme_problem(treatment.scheme, layer)
        if problem:
            return problem
        if layer.transposed:
            return "its weight is stored transposed, and only torch Linear modules can be packed"
        if layer.tied:
            return f"it is tied to {', '.join(layer.tied)}, and loaders do not share packed weights"
        if layer.kind != "linear" or len(layer.shape) != 2 or layer.tensor.name != f"{layer.name}.weight":
            return f"it is no Linear module ({layer.role}, shape {list(layer.shape)})"
        if layer.role == "mlp.router":
            return "loaders do not take packed routers"
        return ""


TARGETS: dict[str, Target] = {target.key: target for target in (Dense(), CompressedTensors())}


def target_of(key: str) -> Target:
    """The target of that key. Raises OutputError with the nearest one."""
    if key not in TARGETS:
        raise OutputError(f"There is no export target '{key}'", remedy=did_you_mean(key, [*TARGETS, AUTO]))
    return TARGETS[key]
