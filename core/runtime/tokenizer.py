"""The tokenizer of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.runtime.architecture import model_folder


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's own tokenizer, from its folder or from within a GGUF file.

    Nothing is downloaded, and no code of the checkpoint is run.

    Raises CheckpointError when there is none.
    """
    folder = model_folder(checkpoint)
    within = {"gguf_file": Path(checkpoint.layers[0].tensor.file).name} if _lies_in_weights(checkpoint) else {}
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **within)
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint's tokenizer cannot be loaded: {(str(error).strip() or type(error).__name__)[:200]}",
            where=str(folder),
            remedy="Put tokenizer.json and tokenizer_config.json beside the weights.",
        ) from error


def _lies_in_weights(checkpoint: Checkpoint) -> bool:
    """Whether the file of the weights is the only place that has the tokenizer."""
    beside = any(Path(companion).name.startswith("tokenizer") for companion in checkpoint.companions)
    return checkpoint.kind == "gguf" and bool(checkpoint.layers) and not beside
