"""All that a GGUF export says of itself: the network, its tokenizer, and what Benchvise did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from benchvise.core.export.gguf.described import Described
from benchvise.core.export.gguf.entries import MetadataEntry, count, text, texts
from benchvise.core.export.gguf.tensors import GgufTensor

QUANTIZATION_VERSION = 2
_MIXED = {"q3_k": 12, "q4_k": 15, "q5_k": 17, "iq2_s": 29, "iq3_s": 27}
_FILE_TYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k": 11, "q4_k": 14,
    "q5_k": 16, "q6_k": 18, "iq2_xxs": 19, "iq2_xs": 20, "iq3_xxs": 23, "iq1_s": 24, "iq4_nl": 25, "iq3_s": 26,
    "iq2_s": 28, "iq4_xs": 30, "iq1_m": 31, "bf16": 32, "tq1_0": 36, "tq2_0": 37, "mxfp4": 38,
}  # fmt: skip
"""Source: llama.cpp, include/llama.h, `llama_ftype`."""


def metadata(
    description: Described, tensors: Sequence[GgufTensor], treatments: Mapping[str, str], version: str
) -> dict[str, MetadataEntry]:
    """The metadata of the file. treatments: the tag of each layer that was compressed, by its name."""
    told = {
        "general.quantization_version": count(QUANTIZATION_VERSION),
        "general.file_type": count(_file_type(tensors)),
        "benchvise.version": text(version),
        "benchvise.treatments": texts(f"{name}: {tag}" for name, tag in treatments.items()),
    }
    return {**description.entries, **told}


def _file_type(tensors: Sequence[GgufTensor]) -> int:
    """The number that llama.cpp has for files whose weights are mostly of the type that most are of."""
    weights: Counter[str] = Counter()
    for tensor in tensors:
        if len(tensor.shape) > 1:
            weights[tensor.kind] += tensor.nbytes
    kinds = [kind for kind, _ in weights.most_common() if kind not in ("f32", "f16", "bf16")] or list(weights)
    if not kinds:
        return 0
    numbers = _MIXED if len(kinds) > 1 else {}
    return {**_FILE_TYPES, **numbers}.get(kinds[0], 1024)
