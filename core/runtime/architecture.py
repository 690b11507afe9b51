"""Which `transformers` class computes a checkpoint: from its config alone, without network or remote code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel, logging
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.runtime.given import IDS, main_input
from benchvise.core.settings import did_you_mean

WHAT_STILL_WORKS = "Everything that looks at weights alone still works: inspect, histogram, plan, compress, export."

# Keys that would make `transformers` look for code or files elsewhere, or wrap the layers of a quantised checkpoint,
# which arrive here as dense weights.
_DROPPED_KEYS = frozenset({
    "auto_map", "quantization_config", "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
    "experts_implementation", "_experts_implementation", "transformers_weights", "fusion_config", "kernel_config",
})  # fmt: skip

_LANGUAGE_MODELS = frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())

logging.set_verbosity_error()
logging.disable_progress_bar()


@dataclass(frozen=True)
class Architecture:
    """A network as `transformers` knows it: its parsed config and its class."""

    config: Any
    model_class: Any

    @property
    def max_positions(self) -> int | None:
        """How many tokens the model can attend to, None where its config does not say."""
        found = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) and found > 0 else None

    @property
    def main_input(self) -> str:
        """The name of its first argument: "input_ids", "pixel_values", "input_features", …"""
        return main_input(self.model_class)

    @property
    def predicts_tokens(self) -> bool:
        """Whether it reads a text and predicts each next token of it."""
        generates = bool(self.model_class.can_generate()) and not getattr(self.config, "is_encoder_decoder", False)
        return generates and self.main_input == IDS

    def on_meta(self) -> torch.nn.Module:
        """The modules with shapes and names but no values."""
        with torch.device("meta"):
            model: torch.nn.Module = self.model_class(self.config)
        return model.eval()


def architecture_of(checkpoint: Checkpoint) -> Architecture:
    """The network that the checkpoint's config names.

    Without a name, or with one that this `transformers` does not know, it is the language model of that type, or what
    all networks of that type have in common. Raises CheckpointError for plain tensors, for model types that this
    `transformers` does not know, and for configs with impossible values.
    """
    model_type = checkpoint.config.get("model_type")
    if not isinstance(model_type, str):
        raise CheckpointError(
            "Plain tensors cannot be evaluated; there is no config.json that names an architecture",
            where=checkpoint.path,
            remedy=f"Put the model's config.json and tokenizer beside the weights. {WHAT_STILL_WORKS}",
        )
    if model_type not in CONFIG_MAPPING:
        raise CheckpointError(
            f"The model type '{model_type}' is not known to the installed transformers; code from the checkpoint is "
            "never run",
            where=checkpoint.path,
            remedy=f"{_nearest(model_type)}{WHAT_STILL_WORKS}",
        )
    try:
        config = CONFIG_MAPPING[model_type].from_dict(own_keys(checkpoint.config))
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"config.json does not describe a '{model_type}' model: {str(error).strip().splitlines()[-1].strip()}",
            where=checkpoint.path,
            remedy="Take config.json from where the weights came from.",
        ) from error
    return Architecture(config, _class_of(checkpoint, config))


def language_model_of(checkpoint: Checkpoint) -> Architecture:
    """The network that the checkpoint's config names, which predicts each next token of a text.

    Raises CheckpointError as `architecture_of`, and for networks that do something else.
    """
    found = architecture_of(checkpoint)
    if not found.predicts_tokens:
        raise CheckpointError(
            f"'{found.model_class.__name__}' does not predict the next token of a text",
            where=checkpoint.path,
            remedy="It can be compressed with calibration, exported, and evaluated against its original by its "
            f"outputs; leave tuning steps out. {WHAT_STILL_WORKS}",
        )
    return found


def _class_of(checkpoint: Checkpoint, config: Any) -> Any:
    named = checkpoint.architecture if checkpoint.config.get("architectures") else ""
    known: Any = getattr(transformers, named, None) if named else None
    if isinstance(known, type) and issubclass(known, PreTrainedModel):
        own: Any = known
        if isinstance(config, own.config_class):
            return own
    language = not named or named in _LANGUAGE_MODELS or named.endswith(("ForCausalLM", "LMHeadModel"))
    for mapping in (AutoModelForCausalLM._model_mapping,) * language + (AutoModel._model_mapping,):
        if type(config) in mapping:
            found = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found
    raise CheckpointError(
        f"The installed transformers has no network for '{named or config.model_type}'",
        where=checkpoint.path,
        remedy=WHAT_STILL_WORKS,
    )


def model_folder(checkpoint: Checkpoint) -> Path:
    """The folder in which the checkpoint's tokenizer lies: that of its companions, else that of its weights."""
    for companion in checkpoint.companions:
        if Path(companion).name.startswith("tokenizer"):
            return Path(companion).parent
    path = Path(checkpoint.path)
    return path if path.is_dir() else path.parent


def _nearest(model_type: str) -> str:
    hint = did_you_mean(model_type, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    return f"{hint} " if hint.startswith("Did") else ""


def own_keys(config: dict[str, object]) -> dict[str, object]:
    """The config without what would make `transformers` look for code elsewhere or wrap layers of its own."""
    return {key: _own_value(value) for key, value in config.items() if key not in _DROPPED_KEYS}


def _own_value(value: object) -> object:
    """A value of a config. transformers writes numbers that JSON has no word for as `{"__float__": "Infinity"}`."""
    if isinstance(value, dict):
        number = value.get("__float__") if len(value) == 1 else None
        return float(number) if number in ("Infinity", "-Infinity", "NaN") else own_keys(value)
    return [_own_value(item) for item in value] if isinstance(value, list) else value
