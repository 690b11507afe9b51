"""GGUF: one file that llama.cpp, Ollama and LM Studio load."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import OutputError
from benchvise.core.export.export_plan import ExportPlan, TreatmentOf
from benchvise.core.export.gguf.carried import nearest_scheme
from benchvise.core.export.gguf.container import GgufFile, gguf_files
from benchvise.core.export.gguf.described import described
from benchvise.core.export.gguf.entries import text
from benchvise.core.export.gguf.metadata import metadata
from benchvise.core.export.gguf.planning import planned
from benchvise.core.export.gguf.samples import gguf_samples
from benchvise.core.export.gguf.tensors import GgufLayer
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.target import Target
from benchvise.core.methods.gguf import Gguf, GgufName
from benchvise.core.methods.scheme import Scheme
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from benchvise.core.weights.weights import Weights

_RUNGS: tuple[GgufName, ...] = (
    "iq2_xxs", "iq2_xs", "q2_k", "iq3_xxs", "q3_k", "iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0",
)  # fmt: skip
"""Types of 2 to 8 bits of which none is both larger and, on any network that was measured, worse than another."""

NAME = "model.gguf"
"""Of the file in a folder, or of the first of several without its number."""


class GgufTarget(Target):
    key: ClassVar[str] = "gguf"
    title: ClassVar[str] = "GGUF"
    summary: ClassVar[str] = (
        "the block types of llama.cpp with the codes found here, all else in its original dtype; tokenizer, chat "
        "template and metadata within"
    )
    source: ClassVar[str] = "ggml/docs/gguf.md; the package `gguf`"
    loaded_by: ClassVar[str] = "llama.cpp, and what is built on it: Ollama, LM Studio, …"
    runtimes: ClassVar[tuple[str, ...]] = ("llama.cpp", "ollama", "lmstudio")
    suffix: ClassVar[str] = ".gguf"
    folders: ClassVar[bool] = True
    companions: ClassVar[bool] = False
    takes_dense: ClassVar[bool] = True
    dedicated: ClassVar[bool] = True
    verified_with: ClassVar[str] = "llama.cpp (logits), at each export where the extra `llama-cpp` is installed"
    package: ClassVar[str] = "gguf"

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        found = planned(checkpoint, described(checkpoint), treatment_of)
        return ExportPlan(self.key, checkpoint, found.layers, found.plan_warnings, modules, found.refusal)

    @property
    def rungs(self) -> tuple[Scheme, ...]:
        return tuple(Gguf(name) for name in _RUNGS)

    def nearest(self, scheme: Scheme, layer: Layer) -> Scheme | None:
        return nearest_scheme(scheme, layer)

    def samples(self, plan: ExportPlan) -> Mapping[str, str]:
        description, files = described(plan.checkpoint), _files(plan, NAME, split=True)
        context = description.settings.get("max_position_embeddings")
        reads = description.entries.get("tokenizer.ggml.model", text("none")) != text("none")
        if not reads:
            return {}
        generates = description.architecture is None or bool(description.architecture.rotary)
        return gguf_samples(files[0].name, context if isinstance(context, int) else 0, generates=generates)

    def disk_bytes(self, plan: ExportPlan) -> int:
        return sum(file.nbytes for file in _files(plan, NAME, split=False))

    def write(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.gguf.files import write_files

        write_files(*_placed(place, plan), plan, weights, progress)

    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.gguf.files import verify_files

        verify_files(*_placed(place, plan), plan, weights, progress)

    def run(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> str:
        from benchvise.core.export.gguf.runtime_check import checked_by_llama_cpp

        folder, files = _placed(place, plan)
        return checked_by_llama_cpp(folder / files[0].name, plan, weights, progress)


def _placed(place: Path, plan: ExportPlan) -> tuple[Path, list[GgufFile]]:
    """The folder that is written to, and the files in it: `place` itself, or those of a folder at `place`."""
    if place.is_dir():
        return place, _files(plan, NAME, split=True)
    return place.parent, _files(plan, place.name, split=False)


def _files(plan: ExportPlan, name: str, *, split: bool) -> list[GgufFile]:
    layers = [layer for layer in plan.layers if isinstance(layer, GgufLayer)]
    tensors = [tensor for layer in layers for tensor in layer.written]
    description = described(plan.checkpoint)
    if description.architecture is None:
        raise OutputError(plan.refusal or description.refusal, where=plan.checkpoint.path)
    treatments = {layer.layer.name: layer.tag for layer in layers if layer.tag}
    told = metadata(description, tensors, treatments, _version())
    return gguf_files(name, description.architecture.key, told, tensors, split=split)


def _version() -> str:
    try:
        return version("benchvise")
    except PackageNotFoundError:  # run from a checkout
        return "from source"
