"""What becomes of each architecture of transformers: a tiny random network of each, through the whole workbench.

    python -m tests.benchmarks.architectures [NAME …] [--write]

A row says whether the checkpoint opens, how many of its weights lie in layers with a role, whether GPTQ learns from
calibrated inputs, whether a packed export loads in transformers with the logits (or hidden states) that the workbench
computes, and whether sensitivity can be measured. `--write` puts the table into BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoConfig

import benchvise
from benchvise.core.engine import answer
from benchvise.core.errors import UserError
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.runtime.given import answer_of, judged, main_input

# ruff: noqa: E501 - one network a line
README = Path(__file__).parents[2] / "BENCHMARKS.md"
BEGIN, END = "<!-- architectures -->\n", "<!-- /architectures -->"
HEAD = "| architecture | network | opens | weights with a role | calibrated | packed export agrees | sensitivity |\n|---|---|---|---|---|---|---|\n"

B: dict[str, Any] = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
A: dict[str, Any] = {"num_attention_heads": 4}
L: dict[str, Any] = {**B, **A, "num_key_value_heads": 2, "intermediate_size": 128}
H: dict[str, Any] = {**L, "head_dim": 16}
E: dict[str, Any] = {**B, **A, "intermediate_size": 128, "max_position_embeddings": 128}
V: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    **A,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}
S: dict[str, Any] = {
    "vocab_size": 512,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
T: dict[str, Any] = {
    "vocab_size": 512,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
W: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    **A,
    "intermediate_size": 128,
    "conv_dim": (32, 32),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
MOE: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}

NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "llama", L),
    "mistral": ("MistralForCausalLM", "mistral", L),
    "qwen2": ("Qwen2ForCausalLM", "qwen2", L),
    "qwen3": ("Qwen3ForCausalLM", "qwen3", H),
    "phi": ("PhiForCausalLM", "phi", L),
    "phi3": ("Phi3ForCausalLM", "phi3", L),
    "gemma": ("GemmaForCausalLM", "gemma", H),
    "gemma2": ("Gemma2ForCausalLM", "gemma2", H),
    "gemma3_text": ("Gemma3ForCausalLM", "gemma3_text", H),
    "gemma3n_text": ("Gemma3nForCausalLM", "gemma3n_text", {**H, "intermediate_size": 128, "num_hidden_layers": 4, "num_kv_shared_layers": 0, "vocab_size_per_layer_input": 512,
      "hidden_size_per_layer_input": 16, "laurel_rank": 8, "layer_types": ["sliding_attention", "full_attention"] * 2, "activation_sparsity_pattern": [0.0] * 4}),
    "gpt2": ("GPT2LMHeadModel", "gpt2", {"vocab_size": 512, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "gpt_neo": ("GPTNeoForCausalLM", "gpt_neo", {"vocab_size": 512, "hidden_size": 64, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 256}),
    "gpt_neox": ("GPTNeoXForCausalLM", "gpt_neox", {**B, **A, "intermediate_size": 128}),
    "gptj": ("GPTJForCausalLM", "gptj", {"vocab_size": 512, "n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_positions": 256}),
    "gpt_bigcode": ("GPTBigCodeForCausalLM", "gpt_bigcode", {"vocab_size": 512, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "opt": ("OPTForCausalLM", "opt", {**B, **A, "ffn_dim": 128, "word_embed_proj_dim": 64, "max_position_embeddings": 256}),
    "bloom": ("BloomForCausalLM", "bloom", {"vocab_size": 512, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "falcon": ("FalconForCausalLM", "falcon", {**B, **A}),
    "mpt": ("MptForCausalLM", "mpt", {"vocab_size": 512, "d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 256}),
    "stablelm": ("StableLmForCausalLM", "stablelm", L),
    "starcoder2": ("Starcoder2ForCausalLM", "starcoder2", L),
    "cohere": ("CohereForCausalLM", "cohere", L),
    "olmo2": ("Olmo2ForCausalLM", "olmo2", L),
    "granite": ("GraniteForCausalLM", "granite", L),
    "glm4": ("Glm4ForCausalLM", "glm4", H),
    "exaone4": ("Exaone4ForCausalLM", "exaone4", H),
    "nemotron": ("NemotronForCausalLM", "nemotron", H),
    "smollm3": ("SmolLM3ForCausalLM", "smollm3", L),
    "mixtral": ("MixtralForCausalLM", "mixtral", {**L, "num_local_experts": 4}),
    "qwen2_moe": ("Qwen2MoeForCausalLM", "qwen2_moe", {**L, **MOE, "shared_expert_intermediate_size": 64}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", "qwen3_moe", {**H, **MOE}),
    "olmoe": ("OlmoeForCausalLM", "olmoe", {**L, "num_experts": 4, "num_experts_per_tok": 2}),
    "granitemoe": ("GraniteMoeForCausalLM", "granitemoe", {**L, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "gpt_oss": ("GptOssForCausalLM", "gpt_oss", {**H, "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 64}),
    "llama4_text": ("Llama4ForCausalLM", "llama4_text", {**H, "intermediate_size_mlp": 128, "num_local_experts": 4, "interleave_moe_layer_step": 1}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", "deepseek_v3", {**L, "num_key_value_heads": 4, "moe_intermediate_size": 64, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
      "topk_group": 1, "first_k_dense_replace": 1, "kv_lora_rank": 32, "q_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 16}),
    "jamba": ("JambaForCausalLM", "jamba", {**L, "num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1, "num_experts": 4, "num_experts_per_tok": 2, "mamba_d_state": 8, "use_mamba_kernels": False, "mamba_dt_rank": 8}),
    "zamba2": ("Zamba2ForCausalLM", "zamba2", {**L, "num_hidden_layers": 4, "num_key_value_heads": 4, "mamba_d_state": 8, "mamba_headdim": 16, "n_mamba_heads": 8, "mamba_ngroups": 1, "hybrid_layer_ids": [1, 3], "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "chunk_size": 16, "use_mem_rope": True, "num_mem_blocks": 1, "adapter_rank": 8}),
    "mamba": ("MambaForCausalLM", "mamba", {**B, "state_size": 8}),
    "mamba2": ("Mamba2ForCausalLM", "mamba2", {**B, "state_size": 16, "head_dim": 16, "num_heads": 8, "n_groups": 2, "chunk_size": 32}),
    "falcon_mamba": ("FalconMambaForCausalLM", "falcon_mamba", {**B, "state_size": 8}),
    "falcon_h1": ("FalconH1ForCausalLM", "falcon_h1", {**H, "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_chunk_size": 32}),
    "bamba": ("BambaForCausalLM", "bamba", {**L, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "attn_layer_indices": [1], "mamba_chunk_size": 32}),
    "nemotron_h": ("NemotronHForCausalLM", "nemotron_h", {**{k: v for k, v in H.items() if k != "num_hidden_layers"}, "layers_block_type": ["mamba", "attention", "mlp"], "mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 1, "chunk_size": 32}),
    "recurrent_gemma": ("RecurrentGemmaForCausalLM", "recurrent_gemma", {**L, "num_hidden_layers": 3, "lru_width": 64, "attention_window_size": 64}),
    "rwkv": ("RwkvForCausalLM", "rwkv", {**B, "context_length": 256, "attention_hidden_size": 64}),
    "lfm2": ("Lfm2ForCausalLM", "lfm2", {**L, "layer_types": ["conv", "full_attention"]}),
    "bert": ("BertModel", "bert", E),
    "bert mlm": ("BertForMaskedLM", "bert", E),
    "roberta": ("RobertaModel", "roberta", {**E, "max_position_embeddings": 130, "pad_token_id": 1}),
    "distilbert": ("DistilBertModel", "distilbert", {"vocab_size": 512, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "max_position_embeddings": 128}),
    "deberta-v2": ("DebertaV2Model", "deberta-v2", {**E, "relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]}),
    "electra": ("ElectraModel", "electra", {**E, "embedding_size": 32}),
    "albert": ("AlbertModel", "albert", {**E, "embedding_size": 32}),
    "modernbert": ("ModernBertModel", "modernbert", {**E, "global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2}),
    "t5": ("T5ForConditionalGeneration", "t5", T),
    "t5 encoder": ("T5EncoderModel", "t5", T),
    "bart": ("BartForConditionalGeneration", "bart", S),
    "marian": ("MarianMTModel", "marian", S),
    "whisper": ("WhisperForConditionalGeneration", "whisper", {**S, "num_mel_bins": 16, "max_source_positions": 32, "bos_token_id": 1, "suppress_tokens": None, "begin_suppress_tokens": None, "max_target_positions": 32}),
    "wav2vec2": ("Wav2Vec2ForCTC", "wav2vec2", W),
    "hubert": ("HubertModel", "hubert", W),
    "vit": ("ViTForImageClassification", "vit", V),
    "deit": ("DeiTModel", "deit", V),
    "dinov2": ("Dinov2Model", "dinov2", {**V, "mlp_ratio": 2}),
    "clip vision": ("CLIPVisionModel", "clip_vision_model", V),
    "siglip vision": ("SiglipVisionModel", "siglip_vision_model", V),
    "swin": ("SwinModel", "swin", {"image_size": 32, "patch_size": 4, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}),
    "convnext": ("ConvNextForImageClassification", "convnext", {"hidden_sizes": [32, 64], "depths": [2, 2], "num_stages": 2, "image_size": 32}),
    "resnet": ("ResNetForImageClassification", "resnet", {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 1], "layer_type": "basic"}),
    "clip text": ("CLIPTextModel", "clip_text_model", {**E, "eos_token_id": 2}),
    "llava": ("LlavaForConditionalGeneration", "llava", {}),
}  # fmt: skip
"""By name: class, model type, and what makes the network tiny."""

GPTQ = {
    "benchvise": 1,
    "calibration": {"windows": 8, "window_tokens": 32},
    "rules": [{
        "targets": ["linears"],
        "scheme": {"method": "integer", "bits": 8, "symmetric": True, "granularity": "channel"},
        "solver": {"method": "error_feedback"},
    }],
}  # fmt: skip


def config_of(kind: str, settings: dict[str, Any]) -> Any:
    if kind != "llava":
        return AutoConfig.for_model(kind, **settings)
    text = transformers.LlamaConfig(**L)
    vision = transformers.CLIPVisionConfig(**V)
    return transformers.LlavaConfig(text_config=text, vision_config=vision, image_token_index=500)


def save(name: str, folder: Path) -> Any:
    """The network in `folder`, with what calibration gives it beside it."""
    class_name, kind, settings = NETWORKS[name]
    torch.manual_seed(0)
    model = getattr(transformers, class_name)(config_of(kind, settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, parameter.shape[-1] ** -0.5) if parameter.dim() == 2 else parameter.add_(0.01)
    model.save_pretrained(folder)
    return model


def inputs(model: Any) -> np.ndarray:
    draw, reads = np.random.default_rng(0), main_input(type(model))
    if reads == "pixel_values":
        return draw.standard_normal((8, 3, 32, 32)).astype(np.float32)
    if reads == "input_features":
        return draw.standard_normal((8, 16, 64)).astype(np.float32)
    if reads == "input_values":
        return draw.standard_normal((8, 800)).astype(np.float32)
    return draw.integers(3, 400, (8, 32))


def row(name: str, folder: Path) -> tuple[str, ...]:
    model = save(name, folder / "m")
    given = inputs(model)
    np.savez(folder / "given.npz", **{main_input(type(model)): given})
    cells = [name, f"`{NETWORKS[name][0]}`"]
    checkpoint = benchvise.open(folder / "m")
    weights = [layer for layer in checkpoint.layers if len(layer.shape) > 1]
    known = sum(layer.parameters for layer in weights if layer.role not in ("other", "linear"))
    cells += ["yes", f"{100 * known / max(1, sum(layer.parameters for layer in weights)):.0f} %"]
    recipe = {**GPTQ, "calibration": {**GPTQ["calibration"], "text": str(folder / "given.npz")}}  # type: ignore[dict-item]
    if not any(layer.kind == "linear" for layer in checkpoint.layers):
        recipe["rules"] = [{**GPTQ["rules"][0], "targets": ["convolutions"]}]  # type: ignore[index]
    try:
        run = benchvise.compress(folder / "m", recipe, out=folder / "out", workspace=folder / "ws")
        alone = [layer for layer in run.layers if any("weights alone" in note for note in layer.notes)]
        cells.append("yes" if not alone else f"{len(run.layers) - len(alone)} of {len(run.layers)} layers")
        cells.append(agrees(name, folder, torch.from_numpy(given)))
    except UserError as error:
        cells += [f"no: {error.what[:100]}", "—"]
    return (*cells, sensitivity(folder))


def agrees(name: str, folder: Path, given: torch.Tensor) -> str:
    """The largest difference of the loaded export to the workbench's own evaluation, as a share of the outputs."""
    from benchvise.core.runtime.build import load_model
    from benchvise.core.weights.open import open_weights

    ours = load_model(open_weights(str(folder / "out"), str(folder / "ws")))
    loaded, info = getattr(transformers, NETWORKS[name][0]).from_pretrained(
        folder / "out", output_loading_info=True, dtype=torch.float32
    )
    with torch.no_grad():
        mine, theirs = (judged(answer_of(each.eval(), given[:2])).float() for each in (ours, loaded))
    error = float((mine - theirs).norm() / mine.norm())
    packed = "packed" if "quantization_config" in (folder / "out" / "config.json").read_text() else "dense"
    missing = f", {len(info['missing_keys'])} keys missing" if info["missing_keys"] else ""
    return f"{packed}, {error:.0e}{missing}"


def sensitivity(folder: Path) -> str:
    layers = [layer for layer in benchvise.open(folder / "m").layers if layer.kind == "linear" and layer.compressible]
    chosen = tuple(layer.name for layer in layers[:1])
    request = MeasureSensitivity(
        str(folder / "m"), str(folder / "given.npz"), (Treatment(Integer(bits=4, granularity="channel")),), chosen, workspace=str(folder / "ws")
    )  # fmt: skip
    try:
        found = answer(request, NullProgress())
    except UserError as error:
        return "no logits" if "no logits" in error.what else f"no: {error.what[:80]}"
    return "yes" if found.cells else "no layer"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.names or NETWORKS:
        with tempfile.TemporaryDirectory() as made:
            try:
                found: tuple[str, ...] = row(name, Path(made))
            except Exception as error:  # noqa: BLE001 - the table is to say it
                traceback.print_exc(limit=-9, file=sys.stderr)
                found = (name, NETWORKS[name][0], f"FAULT {type(error).__name__}: {str(error)[:100]}")
        rows.append(f"| {' | '.join(found)} |\n")
        print(rows[-1], end="", flush=True)
    if arguments.write:
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        README.write_text(f"{before}{BEGIN}{HEAD}{''.join(rows)}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
