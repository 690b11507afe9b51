"""Triton kernels compiled ahead of time for a GPU that is not there, and what they take of it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

_DIVISIBLE_BY_16 = [["tt.divisibility", 16]]


@dataclass(frozen=True)
class CompiledFacts:
    """What one compiled kernel takes: registers a thread, bytes spilled a thread, shared memory a program."""

    arch: int
    registers: int
    spills: int
    shared_bytes: int
    ptx: str


def compile_ahead(
    kernel: Any,
    signature: Mapping[str, str],
    constants: Mapping[str, Any],
    arch: int,
    *,
    num_warps: int = 4,
    num_stages: int = 3,
    fp_fusion: bool = False,
) -> CompiledFacts:
    """Compile `kernel` for compute capability `arch` (80, 90, 100 …) without a GPU.

    signature: Triton type of every argument that is no constant, such as "*bf16" or "i32"; pointers and integers are
    taken to be divisible by 16, as those of torch are for common shapes. constants: value of every constexpr argument.
    Raises what Triton raises when the kernel does not compile, and CalledProcessError when its binary cannot be read.
    """
    types = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    attributes = {(place,): _DIVISIBLE_BY_16 for place, name in enumerate(kernel.arg_names) if name in signature}
    source = ASTSource(kernel, types, dict(constants), attributes)
    options = {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": fp_fusion}
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    ptx = str(compiled.asm["ptx"])
    registers, spills = _resources(compiled.asm["cubin"])
    return CompiledFacts(arch, registers, spills, int(compiled.metadata.shared), ptx)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of local memory a thread, told by the reader of binaries that comes with Triton."""
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "kernel.cubin"
        binary.write_bytes(cubin)
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(binary)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {name: int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", told)}
    if not {"REG", "STACK", "LOCAL"} <= found.keys():
        raise ValueError(f"the binary does not tell what the kernel takes: {told}")
    return found["REG"], found["STACK"] + found["LOCAL"]
