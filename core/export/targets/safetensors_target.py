"""What targets have in common that write `model.safetensors` and `config.json`, as `transformers` reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.shards import Shards
from benchvise.core.export.target import Target
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from benchvise.core.weights.weights import Weights

CONFIG = "config.json"
_QUANTIZATION_KEYS = ("quantization_config", "compression_config")


class SafetensorsTarget(Target):
    """A folder of safetensors files with a config.

    loader_package: what `transformers` needs to load packed layers, "" where it does not load them.
    """

    loader_package: ClassVar[str] = ""

    def quantization(self, plan: ExportPlan) -> dict[str, object]:  # noqa: ARG002 - subclasses look at the plan
        """The `quantization_config` of the config, empty for none."""
        return {}

    def config_text(self, plan: ExportPlan) -> str:
        """The checkpoint's config, saying how its layers are quantised now; "" when it has none."""
        config = unquantised(plan.checkpoint.config)
        quantization = self.quantization(plan)
        if quantization:
            config["quantization_config"] = quantization
        return json.dumps(config, indent=2, ensure_ascii=False) + "\n" if config else ""

    def trial(self, plan: ExportPlan) -> str | None:
        """As `Target.trial`; a folder without packed layers loads as the original does."""
        from benchvise.core.export.loader_trial import loader_problem

        if self.loader_package and plan.packed():
            return loader_problem(json.loads(self.config_text(plan)), plan.tensors(), self.loader_package)
        return None

    def disk_bytes(self, plan: ExportPlan) -> int:
        return Shards(plan.tensors()).disk_bytes + sum(len(text.encode()) for text in self.texts(plan).values())

    def write(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.safetensors_folder import write_folder

        write_folder(place, plan, weights, self.texts(plan), progress)

    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.safetensors_folder import verify_folder

        verify_folder(place, plan, weights, self.texts(plan), progress)

    def texts(self, plan: ExportPlan) -> dict[str, str]:
        """The small files beside the weights, by name."""
        config = self.config_text(plan)
        return {CONFIG: config} if config else {}


def unquantised(config: dict[str, object]) -> dict[str, object]:
    """A parsed config.json without what it says of quantisation."""
    plain = {key: value for key, value in config.items() if key not in _QUANTIZATION_KEYS}
    text = plain.get("text_config")
    if isinstance(text, dict):
        plain["text_config"] = {key: value for key, value in text.items() if key not in _QUANTIZATION_KEYS}
    return plain
