"""The architectures that are written, one record each.

Source: llama.cpp, src/llama-arch.cpp, src/models and convert_hf_to_gguf.py; `transformers`, the configs' own defaults.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchvise.core.export.gguf.architecture import Fixed, GgufArchitecture, Key, Piece

_SILU = Fixed("hidden_act", ("silu", "swish"))
_GELU = Fixed("hidden_activation", ("gelu_pytorch_tanh", None))
_NO_SCALING_OF_QUERIES = Fixed("query_pre_attn_scalar", equal="head_dim")
_WINDOW = Key("attention.sliding_window", ("sliding_window",))
_EXPERTS_USED = Key("expert_used_count", ("num_experts_per_tok", "num_experts_per_token"))
_EXPERT_ROWS = Key("expert_feed_forward_length", ("moe_intermediate_size",))
_EVERY_BLOCK = (Fixed("decoder_sparse_step", (1, None)), Fixed("mlp_only_layers", ([], None)))
_HEADS_OF_128: Mapping[str, object] = {"head_dim": 128, "rms_norm_eps": 1e-6, "hidden_act": "silu"}
_KV_B = ("qk_nope_head_dim", "v_head_dim")
_SIGMOID = 2
"""How llama.cpp counts the functions that weigh experts."""
_GEMMA: Mapping[str, object] = {
    "head_dim": 256, "rms_norm_eps": 1e-6, "sliding_window": 4096, "query_pre_attn_scalar": 256,
    "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
}  # fmt: skip

ARCHITECTURES: tuple[GgufArchitecture, ...] = (
    GgufArchitecture(
        "llama",
        ("llama", "mistral", "mixtral"),
        keys=(Key("expert_count", ("num_local_experts",)), _EXPERTS_USED),
        settings={"rms_norm_eps": 1e-6, "hidden_act": "silu"},
        pairs=True,
        fixed=(_SILU,),
    ),
    GgufArchitecture("qwen2", ("qwen2",), settings={"rms_norm_eps": 1e-6, "hidden_act": "silu"}, fixed=(_SILU,)),
    GgufArchitecture(
        "qwen2moe",
        ("qwen2_moe",),
        keys=(
            Key("expert_count", ("num_experts",)),
            _EXPERTS_USED,
            _EXPERT_ROWS,
            Key("expert_shared_feed_forward_length", ("shared_expert_intermediate_size",)),
        ),
        settings={"rms_norm_eps": 1e-6, "hidden_act": "silu", "num_experts": 60, "num_experts_per_tok": 4},
        fixed=(_SILU, Fixed("norm_topk_prob", (False, None)), *_EVERY_BLOCK),
    ),
    GgufArchitecture("qwen3", ("qwen3",), settings=_HEADS_OF_128, fixed=(_SILU,)),
    GgufArchitecture(
        "qwen3moe",
        ("qwen3_moe",),
        keys=(Key("expert_count", ("num_experts", "num_local_experts")), _EXPERTS_USED, _EXPERT_ROWS),
        settings={**_HEADS_OF_128, "num_local_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
        fixed=(_SILU, Fixed("norm_topk_prob", (True,)), *_EVERY_BLOCK),
    ),
    GgufArchitecture(
        "gemma",
        ("gemma",),
        settings={"head_dim": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": True},
        norm=1.0,
        fixed=(_GELU,),
    ),
    GgufArchitecture(
        "gemma2",
        ("gemma2",),
        keys=(
            _WINDOW,
            Key("attn_logit_softcapping", ("attn_logit_softcapping",), "number"),
            Key("final_logit_softcapping", ("final_logit_softcapping",), "number"),
        ),
        settings={**_GEMMA, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
        norm=1.0,
        fixed=(_GELU, _NO_SCALING_OF_QUERIES),
    ),
    GgufArchitecture(
        "gemma3",
        ("gemma3_text",),
        keys=(_WINDOW, Key("final_logit_softcapping", ("final_logit_softcapping",), "number")),
        settings={**_GEMMA, "rope_theta": 1e6, "rope_local_base_freq": 1e4, "max_position_embeddings": 131072},
        norm=1.0,
        fixed=(_GELU, _NO_SCALING_OF_QUERIES, Fixed("attn_logit_softcapping", (None,))),
        rotary="windows",
    ),
    GgufArchitecture(
        "phi3",
        ("phi3",),
        keys=(_WINDOW,),
        settings={"rms_norm_eps": 1e-5, "hidden_act": "silu", "original_max_position_embeddings": 4096},
        fixed=(_SILU,),
    ),
    GgufArchitecture(
        "olmo2",
        ("olmo2",),
        settings={"rms_norm_eps": 1e-5, "hidden_act": "silu"},
        fixed=(_SILU, Fixed("attention_bias", (False, None))),
    ),
    GgufArchitecture(
        "glm4",
        ("glm4",),
        settings={**_HEADS_OF_128, "rms_norm_eps": 1.5625e-7, "partial_rotary_factor": 0.5},
        fixed=(_SILU,),
    ),
    GgufArchitecture(
        "gpt-oss",
        ("gpt_oss",),
        keys=(_WINDOW, Key("expert_count", ("num_local_experts", "num_experts")), _EXPERTS_USED,
              Key("expert_feed_forward_length", ("intermediate_size",))),
        settings={
            "head_dim": 64, "rms_norm_eps": 1e-5, "sliding_window": 128, "num_experts": 128,
            "num_experts_per_tok": 4, "rope_theta": 150000.0,
        },
        names={"model.layers.{}.self_attn.sinks": "blk.{}.attn_sinks.weight"},
        split={
            "mlp.experts.gate_up_proj": {
                "ffn_gate_exps.weight": Piece(0, None, 2, turned=True),
                "ffn_up_exps.weight": Piece(1, None, 2, turned=True),
            },
            "mlp.experts.gate_up_proj_bias": {
                "ffn_gate_exps.bias": Piece(0, None, 2),
                "ffn_up_exps.bias": Piece(1, None, 2),
            },
            "mlp.experts.down_proj": {"ffn_down_exps.weight": Piece(turned=True)},
            "mlp.experts.down_proj_bias": {"ffn_down_exps.bias": Piece()},
        },
    ),
    GgufArchitecture(
        "starcoder2",
        ("starcoder2",),
        keys=(Key("attention.layer_norm_epsilon", ("norm_epsilon",), "number"),),
        settings={"norm_epsilon": 1e-5, "hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True},
        fixed=(Fixed("hidden_act", ("gelu_pytorch_tanh",)), Fixed("use_bias", (True, None))),
    ),
    GgufArchitecture(
        "deepseek2",
        ("deepseek_v3",),
        keys=(
            Key("leading_dense_block_count", ("first_k_dense_replace",)),
            Key("attention.q_lora_rank", ("q_lora_rank",)),
            Key("attention.kv_lora_rank", ("kv_lora_rank",)),
            Key("attention.key_length", ("kv_lora_rank", "qk_rope_head_dim"), added=True),
            Key("attention.value_length", ("kv_lora_rank",)),
            Key("attention.key_length_mla", ("qk_nope_head_dim", "qk_rope_head_dim"), added=True),
            Key("attention.value_length_mla", ("v_head_dim",)),
            Key("expert_count", ("num_local_experts", "n_routed_experts")),
            _EXPERTS_USED,
            _EXPERT_ROWS,
            Key("expert_shared_count", ("n_shared_experts",)),
            Key("expert_weights_scale", ("routed_scaling_factor",), "number"),
            Key("expert_weights_norm", ("norm_topk_prob",), "flag"),
            Key("expert_group_count", ("n_group",)),
            Key("expert_group_used_count", ("topk_group",)),
        ),
        settings={
            "rms_norm_eps": 1e-6, "hidden_act": "silu", "first_k_dense_replace": 3, "q_lora_rank": 1536,
            "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
            "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "n_shared_experts": 1,
            "routed_scaling_factor": 2.5, "norm_topk_prob": True, "n_group": 8, "topk_group": 4,
        },
        names={"model.layers.{}.mlp.gate.e_score_correction_bias": "blk.{}.exp_probs_b.bias"},
        split={
            "self_attn.kv_b_proj.weight": {
                "attn_k_b.weight": Piece(turned=True, heads=_KV_B, taken="qk_nope_head_dim"),
                "attn_v_b.weight": Piece(heads=_KV_B, taken="v_head_dim"),
            },
        },
        fixed=(
            _SILU,
            Fixed("q_lora_rank", present=True),
            Fixed("rope_interleave", (True, None)),
            Fixed("attention_bias", (False, None)),
        ),
        rotary_size="qk_rope_head_dim",
        constants={"attention.head_count_kv": ("count", 1), "expert_gating_func": ("count", _SIGMOID)},
    ),
    GgufArchitecture(
        "bert",
        ("bert",),
        keys=(Key("attention.layer_norm_epsilon", ("layer_norm_eps",), "number"),),
        settings={"layer_norm_eps": 1e-12, "hidden_act": "gelu", "type_vocab_size": 2, "max_position_embeddings": 512},
        left_out=(r"(^|\.)pooler\.", r"^cls\.", r"position_ids$"),
        fixed=(Fixed("hidden_act", ("gelu",)), Fixed("position_embedding_type", ("absolute", None))),
        rotary="",
        constants={"attention.causal": ("flag", False)},
    ),
)  # fmt: skip


def architecture_for(config: Mapping[str, object]) -> GgufArchitecture | None:
    """The record for a parsed config.json, by its model type, else by the class it names; None where there is none."""
    name = config.get("model_type") or _model_type(config.get("architectures"))
    return next((each for each in ARCHITECTURES if name in each.model_types), None)


def _model_type(classes: object) -> str:
    """The model type of the first class, as in "Qwen2MoeForCausalLM"."""
    first = str(classes[0]).partition("For")[0].lower() if isinstance(classes, list) and classes else ""
    types = (name for each in ARCHITECTURES for name in each.model_types)
    return next((name for name in types if name.removesuffix("_text").replace("_", "") == first), "")
