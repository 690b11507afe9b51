"""Which layers share a tensor: by the config's word, or because a torch file says so."""

from __future__ import annotations

import re

_HEAD_CLASSES = re.compile(r"ForCausalLM$|LMHead|ForConditionalGeneration$|ForMaskedLM$|ForPreTraining$")
_HEADS = {"bert": "cls.predictions.decoder", "gpt_neox": "embed_out", "roberta": "lm_head.decoder"}
_UNTIED_BY_DEFAULT = frozenset({
    "apertus", "arcee", "bitnet", "codegen", "dbrx", "deepseek_v2", "deepseek_v3", "exaone4", "falcon_h1",
    "fuyu", "glm", "glm4", "glm4_moe", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoe", "helium",
    "hunyuan_v1_dense", "hunyuan_v1_moe", "jamba", "llama", "llama4", "llama4_text", "mamba2", "minimax",
    "ministral", "mistral", "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "persimmon", "phi",
    "phi3", "phi4_multimodal", "phimoe", "qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen3", "qwen3_moe",
    "qwen3_next", "reformer", "rembert", "rwkv", "seed_oss", "stablelm", "xlstm",
})  # fmt: skip
"""The model types whose config in transformers has `tie_word_embeddings = False` when the file does not say."""


def tied_head(config: dict[str, object]) -> str | None:
    """The name of the head that uses the embedding's weight, if the config ties them; None if it does not."""
    architectures = config.get("architectures")
    named = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    if not config or (named and not _HEAD_CLASSES.search(named)):
        return None
    text = config.get("text_config")
    parts = [config, text] if isinstance(text, dict) else [config]
    model_type = next((part["model_type"] for part in reversed(parts) if isinstance(part.get("model_type"), str)), "")
    stated = next((part["tie_word_embeddings"] for part in parts if "tie_word_embeddings" in part), None)
    tied = model_type not in _UNTIED_BY_DEFAULT if stated is None else bool(stated)
    return _HEADS.get(str(model_type), "lm_head") if tied and (named or stated is not None) else None
