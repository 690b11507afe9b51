"""The export targets: the dialogs, the command line, the check and the exporter read this list."""

from __future__ import annotations

from collections.abc import Iterator

from benchvise.core.errors import OutputError
from benchvise.core.export.target import Target
from benchvise.core.export.targets.awq import Awq
from benchvise.core.export.targets.compressed_tensors import CompressedTensors
from benchvise.core.export.targets.compressed_tensors_vllm import CompressedTensorsVllm
from benchvise.core.export.targets.dense import Dense
from benchvise.core.export.targets.gguf import GgufTarget
from benchvise.core.export.targets.gptq import Gptq
from benchvise.core.export.targets.mlx_target import Mlx
from benchvise.core.export.targets.onnx_target import Onnx
from benchvise.core.export.targets.openvino_target import OpenVino
from benchvise.core.export.targets.torch_export_target import TorchExport
from benchvise.core.plugins import Registry
from benchvise.core.settings import did_you_mean

AUTO = "auto"
"""The key that asks the targets which of them takes the result."""

_FOR = f"{AUTO}:"

AUTO_TITLE = "Automatic"

TARGETS: Registry[Target] = Registry(
    "benchvise.targets",
    Target,
    (CompressedTensors, CompressedTensorsVllm, Dense, GgufTarget, Gptq, Awq, Onnx, OpenVino, Mlx, TorchExport),
    implemented=False,
)


def targets() -> Iterator[Target]:
    """Every target, in the order in which a person chooses from them."""
    return (TARGETS[key]() for key in TARGETS)


def auto_for(runtime: str) -> str:
    """The key that asks the targets whose files `runtime` loads; "auto" where there is none."""
    return f"{_FOR}{runtime}" if any(runtime in target.runtimes for target in targets()) else AUTO


def candidates(key: str) -> list[Target]:
    """The targets that an "auto" key asks, the most preferred first; empty for the key of a target."""
    if key == AUTO:
        asked = [target for target in targets() if target.preference]
    elif key.startswith(_FOR):
        asked = [target for target in targets() if key.removeprefix(_FOR) in target.runtimes]
    else:
        return []
    return sorted(asked, key=lambda target: (key != AUTO and target.dedicated, target.preference), reverse=True)


def target_of(key: str) -> Target:
    """The target of that key. Raises OutputError with the nearest one."""
    if key not in TARGETS:
        raise OutputError(f"There is no export target '{key}'", remedy=did_you_mean(key, [*TARGETS, AUTO]))
    return TARGETS[key]()
