"""What a tensor does in its network, told from its name, dtype and number of dimensions.

The names are those that the authors of the common architectures chose; a tensor with an unknown name gets a plain role
by its shape, so that every operation on weights alone still works on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from benchvise.core.checkpoint.records import COMPRESSIBLE_DTYPES, ROUTED_EXPERT, Kind


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor belongs.

    module_role: the role of the module that it is a parameter of; differs from `role` for biases and buffers.
    """

    role: str
    kind: Kind
    module: str
    module_role: str


_ANYWHERE = ""
_ATTENTION = "att"
_MLP = r"mlp|ffn|feed|moe|expert|dense"
_BLOCK = r"mlp|ffn|feed|\b(layers?|h|blocks?)\.\d+$"
_TOP = r"^(model|transformer)?$"

_LEAVES: tuple[tuple[str, str, str], ...] = (
    ("q_proj q_lin wq to_q", _ANYWHERE, "attention.q"),
    ("k_proj k_lin wk to_k", _ANYWHERE, "attention.k"),
    ("v_proj v_lin wv to_v", _ANYWHERE, "attention.v"),
    ("q query", _ATTENTION, "attention.q"),
    ("k key", _ATTENTION, "attention.k"),
    ("v value", _ATTENTION, "attention.v"),
    ("qkv_proj qkv wqkv query_key_value c_attn", _ANYWHERE, "attention.qkv"),
    ("in_proj", _ATTENTION, "attention.qkv"),
    ("kv_proj to_kv", _ANYWHERE, "attention.kv"),
    ("q_a_proj", _ANYWHERE, "attention.q_a"),
    ("q_b_proj", _ANYWHERE, "attention.q_b"),
    ("kv_a_proj_with_mqa", _ANYWHERE, "attention.kv_a"),
    ("kv_b_proj", _ANYWHERE, "attention.kv_b"),
    ("o_proj out_lin to_out", _ANYWHERE, "attention.o"),
    ("out_proj c_proj dense proj wo o", _ATTENTION, "attention.o"),
    ("gate_proj wi_0", _ANYWHERE, "mlp.gate"),
    ("up_proj dense_h_to_4h c_fc fc_in lin1 wi wi_1", _ANYWHERE, "mlp.up"),
    ("down_proj dense_4h_to_h fc_out lin2", _ANYWHERE, "mlp.down"),
    ("gate_up_proj", _ANYWHERE, "mlp.gate_up"),
    ("fc1", _BLOCK, "mlp.up"),
    ("fc2", _BLOCK, "mlp.down"),
    ("w1", _MLP, "mlp.gate"),
    ("w2 c_proj wo", _MLP, "mlp.down"),
    ("w3", _MLP, "mlp.up"),
    ("dense", r"intermediate$", "mlp.up"),
    ("dense", r"output$", "mlp.down"),
    ("gate", _MLP, "mlp.router"),
    ("layer", r"router$", "mlp.router"),
    ("input_linear", r"shared_mlp", "mlp.gate_up"),
    ("output_linear", r"shared_mlp", "mlp.down"),
    ("input_linear", r"moe", "mlp.expert.gate_up"),
    ("output_linear", r"moe", "mlp.expert.down"),
    ("router shared_expert_gate", _ANYWHERE, "mlp.router"),
    ("lm_head embed_out", _ANYWHERE, "lm_head"),
    ("decoder", r"predictions$|^lm_head$", "lm_head"),
    ("output proj_out", _TOP, "lm_head"),
    ("classifier score qa_outputs", _ANYWHERE, "classifier"),
    ("head", _TOP, "classifier"),
    ("embed_tokens wte word_embeddings tok_embeddings embed_in token_embedding", _ANYWHERE, "embedding"),
    ("shared", _TOP, "embedding"),
    ("wpe relative_attention_bias", _ANYWHERE, "embedding.position"),
    ("token_type_embeddings segment_embeddings", _ANYWHERE, "embedding.type"),
)
"""Last parts of module names: where they must stand (a pattern searched in what comes before), and the role."""

_EMBEDDING = re.compile(r"(^|_)(embed|embeds|emb|embedding|embeddings)(_|$)")
_POSITION = re.compile(r"pos(ition|itional|itions)?(_|$)")
_NORM = re.compile(r"norm|^ln(_|\d|$)|_ln$|^bn\d*$")
_RNN = re.compile(r"^(weight|bias)_(ih|hh|hr)(_l\d+)?(_reverse)?$")
_NOT_WEIGHTS = re.compile(
    r"^(running_mean|running_var|num_batches_tracked|inv_freq|scales|qzeros|g_idx|weight_scale.*|weight_zero_point"
    r"|weight_shape|weight_g_idx|input_scale|output_scale|SCB|absmax|quant_map|quant_state.*|position_ids)$"
)
_NO_MATRIX = re.compile(
    r"(^|\.)((mask|cls|class|register|distillation)_tokens?|(cls|mask)_embedding|probe"
    r"|a_log|log_a|a_logs|time_(decay|first|faaaa|maa\w*|mix\w*)|(correction|prediction)_coefs"
    r"|relative_position_(index|bias_table)|(rotary|rope)\w*(freqs?|cos|sin|cache\w*|table|emb)?|freqs_cis|cos_cached|sin_cached)$"
)
"""Modules and parameters that are no matrices to multiply with, although they have two dimensions."""

_PACKED = ("qweight", "weight_packed")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def place_of(name: str, dtype: str, rank: int) -> Place:
    """The place of the tensor `name` with `rank` dimensions."""
    module, parameter = _split(with_dots(name))
    path = _NUMBER.sub("0", module)
    module_role, role, kind = _classify(path, parameter, dtype in COMPRESSIBLE_DTYPES, rank)
    return Place(role, kind, module, module_role)


def with_dots(name: str) -> str:
    """The name as torch would write it: TensorFlow and Keras put slashes between its parts."""
    if "/" not in name:
        return name
    return name.removesuffix(":0").replace("/", ".").replace("_._", ".")


def stored_turned(name: str) -> bool:
    """Whether a matrix of that name is stored [in, out], as TensorFlow and Flax store their kernels."""
    return with_dots(name).endswith(".kernel")


def _split(name: str) -> tuple[str, str]:
    """The module a tensor belongs to, and what it is there: weight, bias, rnn, packed, other, or the module itself."""
    parent, _, leaf = name.rpartition(".")
    turned_or_norm = leaf == "kernel" or (leaf == "scale" and _NORM.search(parent.rpartition(".")[2].lower()))
    if leaf in ("weight", "gamma") or (parent and turned_or_norm):
        return parent, "weight"
    if leaf in ("bias", "beta"):
        return parent, "bias"
    rnn = _RNN.match(leaf)
    if rnn:
        return parent, "rnn" if rnn[1] == "weight" else "bias"
    if leaf in _PACKED:
        return parent, "packed"
    if _NOT_WEIGHTS.match(leaf):
        return parent, "other"
    if leaf.endswith(("_weight", "_bias")):
        module, _, parameter = name.rpartition("_")
        return module, parameter
    return name, "itself"


@lru_cache(maxsize=4096)
def _classify(path: str, parameter: str, floating: bool, rank: int) -> tuple[str, str, Kind]:
    """The role of the module at `path`, and the role and kind of its `parameter`."""
    module_role = _module_role(path)
    if parameter == "bias":
        return (module_role, "bias", "bias") if floating and rank in (1, 2) else (module_role, "other", "tensor")
    if parameter == "other" or not floating or not 1 <= rank <= 5:
        known = module_role if parameter in ("weight", "packed") and rank else ""
        return module_role, known or "other", "tensor"
    if parameter == "rnn":
        return module_role, "rnn", "linear"
    if _NO_MATRIX.search(path.lower()):
        return module_role, "other", "tensor"
    return module_role, *_weight_role(path, module_role, parameter, rank)


def _weight_role(path: str, module_role: str, parameter: str, rank: int) -> tuple[str, Kind]:
    """The role and kind of a floating-point weight of 1 to 5 dimensions."""
    if module_role == "norm":
        return "norm", "norm"
    if rank == 1:
        return ("norm", "norm") if parameter == "weight" and not module_role else ("other", "tensor")
    if rank == 2:
        return (
            (module_role, "embedding") if module_role.startswith("embedding") else (module_role or "linear", "linear")
        )
    convolves = parameter == "weight" or "conv" in path or "kernel" in path
    if convolves and not module_role.startswith(ROUTED_EXPERT):
        return module_role or "conv", "conv"
    return module_role or "other", "tensor"


def _module_role(path: str) -> str:
    parent, _, leaf = path.lower().rpartition(".")
    role = next((role for where, role in _RULES.get(leaf, ()) if re.search(where, parent)), "")
    if role.startswith("mlp.") and role != "mlp.router":
        if "shared_expert" in parent:
            return role.replace("mlp.", "mlp.shared_expert.", 1)
        return role.replace("mlp.", ROUTED_EXPERT, 1) if "experts" in parent else role
    if role:
        return role
    if _NORM.search(leaf):
        return "norm"
    if _EMBEDDING.search(leaf) and "rotary" not in leaf:
        return "embedding.position" if _POSITION.search(leaf) else "embedding"
    return f"{ROUTED_EXPERT}other" if "experts" in parent.split(".") and "shared_expert" not in parent else ""


def _by_leaf() -> dict[str, list[tuple[str, str]]]:
    rules: dict[str, list[tuple[str, str]]] = {}
    for leaves, where, role in _LEAVES:
        for leaf in leaves.split():
            rules.setdefault(leaf, []).append((where, role))
    return rules


_RULES = _by_leaf()

ROLES = frozenset(role for _, _, role in _LEAVES) | {"norm", "bias", "conv", "linear", "rnn", "other"}
"""All roles but those of experts."""
