"""compressed-tensors as vLLM alone loads it: zero points packed like the codes, 4 bits where the scheme has 4."""

from __future__ import annotations

from typing import ClassVar

from benchvise.core.export.targets.compressed_tensors import CompressedTensors


class CompressedTensorsVllm(CompressedTensors):
    key: ClassVar[str] = "compressed-tensors-vllm"
    title: ClassVar[str] = "compressed-tensors for vLLM"
    summary: ClassVar[str] = "as `compressed-tensors`, with the zero points of 4- and 8-bit layers packed as they are"
    loaded_by: ClassVar[str] = "vLLM; the `compressed-tensors` package decodes it, `transformers` refuses it"
    verified_with: ClassVar[str] = "the `compressed-tensors` package decodes equal values; vLLM itself: not verified"
    runtimes: ClassVar[tuple[str, ...]] = ("vllm",)
    dedicated: ClassVar[bool] = True
    preference: ClassVar[int] = 0
    loader_package: ClassVar[str] = ""
    zero_points: ClassVar[frozenset[int]] = frozenset({4, 8})
