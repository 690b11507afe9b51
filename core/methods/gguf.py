"""The block types of GGUF files, as ggml defines them: settings, exact storage, fallbacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.errors import RecipeError
from benchvise.core.methods.phrases import Phrase, head
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting

GgufName = Literal[
    "f16", "bf16", "q8_0", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_1", "q4_0", "iq4_nl", "iq4_xs", "mxfp4",
    "q3_k", "iq3_s", "iq3_xxs", "q2_k", "iq2_s", "iq2_xs", "iq2_xxs", "tq2_0", "tq1_0", "iq1_m", "iq1_s",
]  # fmt: skip


@dataclass(frozen=True)
class BlockType:
    """How one type stores neighbouring weights of a row.

    title:    its name in ggml.
    weights:  of a block, stored in `nbytes` bytes.
    scales:   the tensors, by name and dtype, that hold one number per block; their bytes are among those of the block.
    fallback: the type of rows that blocks do not divide.
    """

    title: str
    weights: int
    nbytes: int
    scales: tuple[tuple[str, str], ...]
    fallback: GgufName

    @property
    def code_bytes(self) -> int:
        """Bytes of a block besides the numbers in `scales`."""
        return self.nbytes - sum(1 if dtype.startswith("float8") else 2 for _, dtype in self.scales)


_SCALE = (("weight_scale", "float16"),)
_SCALE_AND_MINIMUM = (*_SCALE, ("weight_minimum", "float16"))
_POWER_OF_TWO = (("weight_scale", "float8_e8m0fnu"),)

TYPES: dict[GgufName, BlockType] = {
    "f16": BlockType("F16", 1, 2, (), "f16"),
    "bf16": BlockType("BF16", 1, 2, (), "bf16"),
    "q8_0": BlockType("Q8_0", 32, 34, _SCALE, "f16"),
    "q6_k": BlockType("Q6_K", 256, 210, _SCALE, "q8_0"),
    "q5_k": BlockType("Q5_K", 256, 176, _SCALE_AND_MINIMUM, "q5_1"),
    "q5_1": BlockType("Q5_1", 32, 24, _SCALE_AND_MINIMUM, "f16"),
    "q5_0": BlockType("Q5_0", 32, 22, _SCALE, "f16"),
    "q4_k": BlockType("Q4_K", 256, 144, _SCALE_AND_MINIMUM, "q5_0"),
    "q4_1": BlockType("Q4_1", 32, 20, _SCALE_AND_MINIMUM, "f16"),
    "q4_0": BlockType("Q4_0", 32, 18, _SCALE, "f16"),
    "iq4_nl": BlockType("IQ4_NL", 32, 18, _SCALE, "f16"),
    "iq4_xs": BlockType("IQ4_XS", 256, 136, _SCALE, "iq4_nl"),
    "mxfp4": BlockType("MXFP4", 32, 17, _POWER_OF_TWO, "f16"),
    "q3_k": BlockType("Q3_K", 256, 110, _SCALE, "iq4_nl"),
    "iq3_s": BlockType("IQ3_S", 256, 110, _SCALE, "iq4_nl"),
    "iq3_xxs": BlockType("IQ3_XXS", 256, 98, _SCALE, "iq4_nl"),
    "q2_k": BlockType("Q2_K", 256, 84, _SCALE_AND_MINIMUM, "iq4_nl"),
    "iq2_s": BlockType("IQ2_S", 256, 82, _SCALE, "iq4_nl"),
    "iq2_xs": BlockType("IQ2_XS", 256, 74, _SCALE, "iq4_nl"),
    "iq2_xxs": BlockType("IQ2_XXS", 256, 66, _SCALE, "iq4_nl"),
    "tq2_0": BlockType("TQ2_0", 256, 66, _SCALE, "q4_0"),
    "tq1_0": BlockType("TQ1_0", 256, 54, _SCALE, "q4_0"),
    "iq1_m": BlockType("IQ1_M", 256, 56, _SCALE, "iq4_nl"),
    "iq1_s": BlockType("IQ1_S", 256, 50, _SCALE, "iq4_nl"),
}
"""Source: ggml, ggml-common.h; the fallbacks are those of llama.cpp, llama-quant.cpp."""


@dataclass(frozen=True)
class Gguf(Scheme):
    """The exact bytes of a ggml block type, split by tensor: `weight_packed` holds blocks without their 16-bit scales.

    `core.schemes.gguf.blocks` joins the tensors to what a GGUF file holds.
    """

    key: ClassVar[str] = "gguf"
    title: ClassVar[str] = "GGUF block type"
    summary: ClassVar[str] = "The types of llama.cpp: K-quants, code-book types of 1 to 4 bits, and the plain ones."
    source: ClassVar[str] = "ggml, ggml-common.h and ggml-quants.c; the package `gguf`, quants.py"
    fallback: ClassVar[str] = "fallback"
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale", "rounding"})
    phrases: ClassVar[tuple[Phrase, ...]] = (head("{type}"),)

    type: GgufName = setting(  # noqa: RUF009 - a declared setting, like all others
        "q4_k",
        title="Type",
        help="The type that the file stores. K types share scales in two levels, IQ types round several weights "
        "together; the number is about the bits per weight.",
        choices={
            name: f"{kind.title} ({8 * kind.nbytes / kind.weights:g} bits per weight)" for name, kind in TYPES.items()
        },
    )
    indivisible: Literal["fallback", "refuse"] = setting(
        "fallback",
        title="When the block size does not divide",
        help="Take the type that llama.cpp takes for such rows, which has shorter blocks, or refuse the plan; the plan "
        "lists each layer where another type is taken.",
        choices={"fallback": "Type with shorter blocks", "refuse": "Refuse"},
    )

    @property
    def tag(self) -> str:
        return self.type

    @property
    def block(self) -> BlockType:
        return TYPES[self.type]

    @property
    def searched(self) -> bool:
        return self.type not in ("f16", "bf16")

    def fitted(self, layer: Layer) -> tuple[Gguf, tuple[str, ...]]:
        columns, block = layer.matrix_shape[1], self.block
        if columns % block.weights == 0:
            return self, ()
        found = block.fallback if columns % TYPES[block.fallback].weights == 0 else "f16"
        if self.indivisible == "refuse":
            raise RecipeError(
                f"Blocks of {block.weights}, as {block.title} has them, do not divide the {columns} inputs of "
                f"'{layer.name}' (shape {list(layer.shape)})",
                where=layer.name,
                remedy=f"Use type {found}, or 'indivisible: fallback'.",
            )
        what = TYPES[found].title
        note = f"{what} instead of {block.title}, whose blocks of {block.weights} do not divide {columns} inputs"
        return replace(self, type=found), (note,)

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        if not self.block.scales:
            return (StoredTensor("weight", "float16" if self.type == "f16" else "bfloat16", (rows, columns)),)
        blocks = columns // self.block.weights
        return (
            StoredTensor("weight_packed", "uint8", (rows, blocks * self.block.code_bytes)),
            *(StoredTensor(name, dtype, (rows, blocks)) for name, dtype in self.block.scales),
        )
