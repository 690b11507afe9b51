"""The types of tensors in a GGUF file.

Source: ggml/include/ggml.h, `enum ggml_type`; gguf-py/gguf/constants.py, `GGML_QUANT_SIZES`.
"""

from __future__ import annotations

from typing import NamedTuple


class GgufType(NamedTuple):
    """Values per block and bytes per block. dtype: of the values where they are stored as they are, else ""."""

    name: str
    block: int
    nbytes: int
    dtype: str = ""


TYPES: dict[int, GgufType] = {
    0: GgufType("f32", 1, 4, "float32"), 1: GgufType("f16", 1, 2, "float16"), 30: GgufType("bf16", 1, 2, "bfloat16"),
    28: GgufType("f64", 1, 8, "float64"), 24: GgufType("i8", 1, 1, "int8"), 25: GgufType("i16", 1, 2, "int16"),
    26: GgufType("i32", 1, 4, "int32"), 27: GgufType("i64", 1, 8, "int64"),
    2: GgufType("q4_0", 32, 18), 3: GgufType("q4_1", 32, 20), 6: GgufType("q5_0", 32, 22), 7: GgufType("q5_1", 32, 24),
    8: GgufType("q8_0", 32, 34), 9: GgufType("q8_1", 32, 40), 10: GgufType("q2_k", 256, 84),
    11: GgufType("q3_k", 256, 110), 12: GgufType("q4_k", 256, 144), 13: GgufType("q5_k", 256, 176),
    14: GgufType("q6_k", 256, 210), 15: GgufType("q8_k", 256, 292), 16: GgufType("iq2_xxs", 256, 66),
    17: GgufType("iq2_xs", 256, 74), 18: GgufType("iq3_xxs", 256, 98), 19: GgufType("iq1_s", 256, 50),
    20: GgufType("iq4_nl", 32, 18), 21: GgufType("iq3_s", 256, 110), 22: GgufType("iq2_s", 256, 82),
    23: GgufType("iq4_xs", 256, 136), 29: GgufType("iq1_m", 256, 56), 34: GgufType("tq1_0", 256, 54),
    35: GgufType("tq2_0", 256, 66), 39: GgufType("mxfp4", 32, 17), 40: GgufType("nvfp4", 64, 36),
    41: GgufType("q1_0", 128, 18),
}  # fmt: skip
