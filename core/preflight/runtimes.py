"""The runtimes a result can be meant for: what each loads, and where it is faster. Facts only, each with its source."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchvise.core.errors import UserError
from benchvise.core.export.layouts.mlx import FORMAT as MLX_AFFINE
from benchvise.core.export.layouts.packed_layout import FP8, MXFP4, MXFP8, NVFP4, PACKED, UNPACKED
from benchvise.core.methods.gguf import TYPES
from benchvise.core.settings import did_you_mean

INT8_INPUTS = frozenset({"int8 dynamic", "int8 static"})
FP8_INPUTS = frozenset({"fp8 dynamic", "fp8 static"})
PLAIN_INPUTS = frozenset({""})

_MARLIN = "Marlin's README: 3.87× FP16 up to batch 16 to 32; 0.83× at batch 64 was measured on an H200"
_VLLM_WNA16 = "vLLM, compressed_tensors_wNa16.py and marlin_utils.py"
_VLLM_SCHEMES = "vLLM, compressed_tensors.py; llm-compressor 0.10, guides/compression_schemes"
_TRANSFORMERS = "transformers 5.23, quantizer_compressed_tensors.py"


@dataclass(frozen=True)
class LoadedForm:
    """One way in which a runtime loads packed layers; what is not named here does not matter to it.

    formats, bits, strategies: of `core.export.layouts.packed_layout.PackedLayout`. groups: group sizes, empty for any.
    inputs:  "" for inputs as they are, "int8 dynamic", "int8 static", "fp8 dynamic", "fp8 static".
    block:   rows and columns of a block of strategy "block".
    rows, columns: what the layer's outputs and inputs must be multiples of, else `unaligned` tells what happens.
    caveat:  what it takes to load, as a sentence; "" for nothing special.
    faster:  in which batches layers are faster than dense ones, as a phrase; "" when they are not. why: the reason.
    """

    name: str
    formats: frozenset[str]
    bits: frozenset[int]
    strategies: frozenset[str]
    source: str
    faster: str
    why: str
    groups: tuple[int, ...] = ()
    inputs: frozenset[str] = PLAIN_INPUTS
    symmetric: bool = True
    block: tuple[int, int] | None = None
    rows: int = 1
    columns: int = 1
    unaligned: str = ""
    caveat: str = ""


@dataclass(frozen=True)
class Fused:
    """Layers of one module that a runtime computes in one piece."""

    title: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Runtime:
    """A program that computes with compressed layers.

    forms:    the packed layers it loads, the best first. What export targets write for it, the targets declare.
    fused:    computed in one piece, so that all members need the same treatment.
    experts:  whether the experts of a block need the same treatment. head: a caveat where the output head is packed.
    shared_scale: whether fused NVFP4 layers should share their global scale.
    """

    key: str
    title: str
    forms: tuple[LoadedForm, ...] = ()
    fused: tuple[Fused, ...] = ()
    experts: bool = False
    head: str = ""
    shared_scale: bool = False
    source: str = ""


_QKV = Fused("query, key and value", ("attention.q", "attention.k", "attention.v"))
_GATE_UP = Fused("gate and up", ("mlp.gate", "mlp.up"))
_SHARED_GATE_UP = Fused("gate and up of shared experts", ("mlp.shared_expert.gate", "mlp.shared_expert.up"))
_ALL = frozenset({"tensor", "channel", "group", "block", "tensor_group"})
_SMALL = "up to batch 16 to 32, where reading the weights is what takes the time"
_SLOWER = f"At large batches decoding the codes costs more than it saves. {_MARLIN}"

_UNALIGNED = (
    "Marlin takes multiples of 64 outputs by 128 inputs. Newer versions of vLLM pad the others; older ones (0.9 among "
    "them) refuse to load them"
)

_VLLM = Runtime(
    key="vllm",
    title="vLLM",
    forms=(
        LoadedForm(
            "weights of 4 or 8 bits (Marlin)",
            frozenset({PACKED}),
            frozenset({4, 8}),
            frozenset({"channel", "group"}),
            _VLLM_WNA16,
            faster=_SMALL,
            why=_SLOWER,
            groups=(32, 64, 128),
            rows=64,
            columns=128,
            unaligned=_UNALIGNED,
        ),
        LoadedForm(
            "weights of 4 bits with zero points (Marlin)",
            frozenset({PACKED}),
            frozenset({4}),
            frozenset({"channel", "group"}),
            "vLLM, compressed_tensors_wNa16.py: WNA16_ZP_SUPPORTED_TYPES_MAP; marlin_utils.py",
            faster=_SMALL,
            why=_SLOWER,
            groups=(32, 64, 128),
            symmetric=False,
            rows=64,
            columns=128,
            unaligned=_UNALIGNED,
        ),
        LoadedForm(
            "GPTQ weights of 4 or 8 bits (Marlin)",
            frozenset({"gptq"}),
            frozenset({4, 8}),
            frozenset({"channel", "group"}),
            "vLLM, gptq_marlin.py",
            faster=_SMALL,
            why=_SLOWER,
            groups=(32, 64, 128),
            rows=64,
            columns=128,
            unaligned=_UNALIGNED,
        ),
        LoadedForm(
            "GPTQ weights of 2, 3, 4 or 8 bits",
            frozenset({"gptq"}),
            frozenset({2, 3, 4, 8}),
            frozenset({"channel", "group"}),
            "vLLM, gptq.py: checkpoint_format gptq_v2",
            faster=_SMALL,
            why=_SLOWER,
            symmetric=False,
            caveat="vLLM computes these with its older GPTQ kernels, in float16 alone, and takes true zero points only "
            "in versions that know the layout gptq_v2",
        ),
        LoadedForm(
            "AWQ weights of 4 bits",
            frozenset({"awq"}),
            frozenset({4}),
            frozenset({"channel", "group"}),
            "vLLM, awq_marlin.py",
            faster=_SMALL,
            why=_SLOWER,
            groups=(32, 64, 128),
            symmetric=False,
            rows=64,
            columns=128,
            unaligned=_UNALIGNED,
        ),
        LoadedForm(
            "weights of 2 to 8 bits (Humming)",
            frozenset({PACKED}),
            frozenset(range(2, 9)),
            frozenset({"channel", "group"}),
            "vLLM, pull requests 34556, 46389 and 46528; compressed_tensors_wNa16.py",
            faster=_SMALL,
            symmetric=False,
            why="Their authors find them faster than Marlin. At large batches decoding costs more than it saves",
            caveat="This loads only in vLLM from the middle of 2026 with the Humming kernels installed, on an NVIDIA "
            "GPU; older versions take 4 and 8 bits in groups of 32, 64 or 128, or per channel",
        ),
        LoadedForm(
            "INT8 weights and inputs",
            frozenset({UNPACKED}),
            frozenset({8}),
            frozenset({"tensor", "channel"}),
            "vLLM, features/quantization/int8; compressed_tensors.py",
            faster="at every batch, most at large ones, on GPUs from Turing to Hopper",
            why="Products are computed in 8 bits. vLLM has no INT8 kernel for Blackwell: take FP8 there",
            inputs=INT8_INPUTS,
        ),
        LoadedForm(
            "INT4 weights with INT8 inputs",
            frozenset({PACKED}),
            frozenset({4}),
            frozenset({"channel", "group"}),
            "vLLM, features/quantization/llm_compressor/int8_w4a8",
            faster=_SMALL,
            why="How much it gains depends on the processor; measure it there",
            inputs=frozenset({"int8 dynamic"}),
            caveat="Only recent versions of vLLM load 4-bit weights with INT8 inputs",
        ),
        LoadedForm(
            "FP8 weights and inputs",
            frozenset({FP8}),
            frozenset({8}),
            frozenset({"tensor", "channel"}),
            _VLLM_SCHEMES,
            faster="at every batch, most at large ones, on GPUs from Ada on",
            why="Products are computed in 8 bits. GPUs without FP8 arithmetic decode the weights instead",
            inputs=FP8_INPUTS,
        ),
        LoadedForm(
            "FP8 weights in blocks",
            frozenset({FP8}),
            frozenset({8}),
            frozenset({"block"}),
            _VLLM_SCHEMES,
            faster="at every batch, most at large ones, on GPUs from Ada on",
            why="Inputs are quantised in groups of 128 while it runs",
            inputs=frozenset({"", "fp8 dynamic"}),
            block=(128, 128),
        ),
        LoadedForm(
            "FP8 weights alone",
            frozenset({FP8}),
            frozenset({8}),
            frozenset({"tensor", "channel"}),
            _VLLM_SCHEMES,
            faster=_SMALL,
            why="Weights are decoded on the fly; quantise the inputs to FP8 too for large batches",
        ),
        LoadedForm(
            "NVFP4 weights alone",
            frozenset({NVFP4}),
            frozenset({4}),
            _ALL,
            "vLLM, compressed_tensors_w4a16_nvfp4.py",
            faster=_SMALL,
            why=_SLOWER,
        ),
        LoadedForm(
            "MXFP4 weights alone",
            frozenset({MXFP4}),
            frozenset({4}),
            _ALL,
            "vLLM, compressed_tensors_w4a16_mxfp4.py",
            faster=_SMALL,
            why=_SLOWER,
            caveat="Only recent versions of vLLM load MXFP4 layers from compressed-tensors",
        ),
        LoadedForm(
            "MXFP8 weights",
            frozenset({MXFP8}),
            frozenset({8}),
            _ALL,
            "vLLM, compressed_tensors_w8a8_mxfp8.py",
            faster="at large batches, on GPUs with MXFP8 arithmetic",
            why="Inputs are quantised to MXFP8 while it runs",
            caveat="Only recent versions of vLLM load MXFP8 layers from compressed-tensors, and they quantise the "
            "inputs too",
        ),
    ),
    fused=(_QKV, _GATE_UP, _SHARED_GATE_UP),
    experts=True,
    head="Older versions of vLLM take no packed output head",
    shared_scale=True,
    source="vLLM, compressed_tensors/utils.py: all members of a fused layer must have the same scheme",
)

_TRANSFORMERS_RUNTIME = Runtime(
    key="transformers",
    title="transformers",
    forms=(
        LoadedForm(
            "packed layers",
            frozenset({PACKED, UNPACKED, FP8, MXFP4, MXFP8, NVFP4}),
            frozenset(range(2, 9)),
            _ALL,
            _TRANSFORMERS,
            faster="",
            why="Layers are decoded to dense ones when they are first used, and stay so: no faster, and no smaller in "
            "memory. FP8 alone has kernels, on GPUs from Ada on, with use_optimized_inference=True",
            inputs=PLAIN_INPUTS | INT8_INPUTS | FP8_INPUTS,
            symmetric=False,
        ),
    ),
    experts=True,
    source=_TRANSFORMERS,
)

_BLOCK_TYPES = LoadedForm(
    "GGUF block types",
    frozenset(f"gguf {name}" for name in TYPES),
    frozenset(range(17)),
    frozenset({"block"}),
    "llama.cpp, ggml-common.h and tools/quantize/README.md",
    faster="while decoding",
    why="Reading the weights is what takes the time; with 2 threads of an AVX-512 processor Q4_K took 0.35 ms for a "
    "4096 × 4096 layer at batch 1, where bfloat16 took 2.2, and 18.4 against 20.1 at batch 256. Code-book types (IQ) "
    "decode more slowly than K types of their size on a CPU",
)
_LLAMA_CPP = Runtime(
    key="llama.cpp",
    title="llama.cpp",
    forms=(_BLOCK_TYPES,),
    source="llama.cpp, docs; ggml-common.h",
)
_OLLAMA = Runtime(
    key="ollama",
    title="Ollama",
    forms=(replace(_BLOCK_TYPES, source="Ollama, docs/import.md: a Modelfile that says FROM ./model.gguf"),),
    source="Ollama, docs/import.md",
)
_LM_STUDIO = Runtime(
    key="lmstudio",
    title="LM Studio",
    forms=(replace(_BLOCK_TYPES, source="LM Studio, docs: lms import, which runs files by llama.cpp"),),
    source="LM Studio, docs/advanced/import-model",
)
_ONNX_RUNTIME = Runtime(
    key="onnxruntime",
    title="ONNX Runtime",
    forms=(
        LoadedForm(
            "MatMulNBits",
            frozenset({"MatMulNBits"}),
            frozenset({2, 4, 8}),
            frozenset({"group"}),
            "onnxruntime, docs/ContribOperators.md; pull request of onnxruntime/mobius 402; issue 29849",
            faster="while decoding, with accuracy level 4 on processors with 8-bit products",
            why="4 bits with accuracy_level 4 took 0.42 ms for a 4096 × 4096 layer at batch 1 with 2 threads of an "
            "AVX-512 processor, where bfloat16 took 2.2, but 23.0 against 20.1 at batch 256. The level rounds inputs "
            "to 8 bits, which changes the top token of some models: the export measures it, and takes it up to 0.5 %",
            symmetric=False,
        ),
        LoadedForm(
            "int8 products (QDQ)",
            frozenset({"QDQ int8"}),
            frozenset({8}),
            frozenset({"channel"}),
            "onnxruntime, docs/performance/model-optimizations/quantization",
            faster="at every batch, on processors with 8-bit products",
            why="Weights and inputs are multiplied as int8, with the ranges that the run observed",
            inputs=frozenset({"int8 static"}),
        ),
    ),
    source="ONNX Runtime, docs/ContribOperators.md: com.microsoft.MatMulNBits, blocks of a power of 2 from 16",
)
_OPENVINO = Runtime(
    key="openvino",
    title="OpenVINO",
    forms=(
        LoadedForm(
            "compressed weights",
            frozenset({"MatMulNBits"}),
            frozenset({2, 4, 8}),
            frozenset({"group"}),
            "OpenVINO 2026, src/frontends/onnx: com.microsoft.MatMulNBits; 4-bit-weight-quantization",
            faster="while decoding",
            why="Weights are decoded as they are multiplied. Its documentation calls 4 bits without zero points faster "
            "than 8 bits, and 4 bits with zero points a little slower than without",
            symmetric=False,
        ),
        LoadedForm(
            "int8 products (QDQ)",
            frozenset({"QDQ int8"}),
            frozenset({8}),
            frozenset({"channel"}),
            "OpenVINO 2026, low_precision_transformations",
            faster="at every batch, on processors with 8-bit products",
            why="Weights and inputs are multiplied as int8, with the ranges that the run observed",
            inputs=frozenset({"int8 static"}),
        ),
    ),
    source="OpenVINO 2026, docs: weight compression; src/frontends/onnx",
)

_MLX = Runtime(
    key="mlx",
    title="MLX",
    forms=(
        LoadedForm(
            "affine groups",
            frozenset({MLX_AFFINE}),
            frozenset({2, 3, 4, 5, 6, 8}),
            frozenset({"group"}),
            "ml-explore/mlx, mlx.core.quantize; mlx-lm, utils.py",
            faster="while decoding",
            why="Reading the weights is what takes the time on Apple's GPUs; not measured here",
            groups=(32, 64, 128),
            symmetric=False,
        ),
    ),
    source="mlx-lm, utils.py: load_model quantises the modules that have scales",
)

RUNTIMES: dict[str, Runtime] = {
    runtime.key: runtime
    for runtime in (
        _VLLM,
        _LLAMA_CPP,
        _OLLAMA,
        _LM_STUDIO,
        _TRANSFORMERS_RUNTIME,
        _ONNX_RUNTIME,
        _OPENVINO,
        _MLX,
    )
}


def runtime_of(key: str) -> Runtime:
    """The runtime of that key. Raises UserError with the nearest one."""
    if key not in RUNTIMES:
        raise UserError(f"There is no runtime '{key}'", remedy=did_you_mean(key, RUNTIMES))
    return RUNTIMES[key]
