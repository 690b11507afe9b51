"""What networks are given that is no text: arrays of a file, a folder of images, sound."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint, TensorEntry
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.runtime.architecture import Architecture, architecture_of, model_folder
from benchvise.core.runtime.given import IDS

ARRAYS = (".npz", ".npy", ".safetensors")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
SOUND = (".wav",)
_PIECE_SECONDS = 10
_MAX_BYTES = 4 << 30


def inputs_of(checkpoint: Checkpoint, path: str, most: int) -> Tensor | None:
    """At most `most` samples for the checkpoint's network, float32 [samples, …] or int64 [samples, tokens].

    path: arrays in `.npz`, `.npy` or `.safetensors`, one of them named after the network's first argument; an image or
    a folder of images; a `.wav` file or a folder of them. None for anything else where the network reads text.

    Raises UserError when the path does not hold what the network reads, and CheckpointError for a checkpoint without
    the settings that turn images or sound into numbers.
    """
    architecture = architecture_of(checkpoint)
    place, reads = Path(path), architecture.main_input
    suffix = place.suffix.lower()
    if path and suffix in ARRAYS:
        return _arrays(place, architecture)[:most]
    if reads == IDS:
        return None
    files = sorted(place.iterdir()) if path and place.is_dir() else [place] if path else []
    images = [file for file in files if file.suffix.lower() in IMAGES][:most]
    sounds = [file for file in files if file.suffix.lower() in SOUND]
    if images:
        return _prepared(checkpoint, reads, _read_images(images))
    if sounds:
        return _heard(checkpoint, reads, sounds, most)
    raise UserError(
        f"'{architecture.model_class.__name__}' reads {reads}, not text",
        where=path,
        remedy=f"Give a folder of images, a .wav file, or an array '{reads}' in a .npz or .safetensors file.",
    )


def _arrays(path: Path, architecture: Architecture) -> Tensor:
    """The array for the network's first argument, or the only one that there is."""
    found = {layer.tensor.name: layer.tensor for layer in open_checkpoint(path).layers}
    reads = architecture.main_input
    entry = found.get(reads) or (next(iter(found.values())) if len(found) == 1 else None)
    if entry is None:
        raise UserError(
            f"The file holds no array '{reads}'",
            where=str(path),
            remedy=f"It holds {', '.join(list(found)[:5]) or 'none'}; name the one that the network reads '{reads}'.",
        )
    _check(entry, reads, path)
    values = load_tensor(entry)
    return values.float() if reads != IDS else values.long()


def _check(entry: TensorEntry, reads: str, path: Path) -> None:
    whole = "int" in entry.dtype
    if not entry.elements or len(entry.shape) < 2 or whole != (reads == IDS) or entry.elements * 8 > _MAX_BYTES:
        wanted = "ids [samples, tokens] in whole numbers" if reads == IDS else "floating-point samples [samples, …]"
        raise UserError(
            f"'{entry.name}' is {entry.dtype} {list(entry.shape)}, where the network reads {wanted}", where=str(path)
        )


def _read_images(files: list[Path]) -> dict[str, Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError(
            "Images are read by the package 'pillow', which is not installed",
            where=str(files[0]),
            remedy='Install it with `pip install "benchvise[images]"` or `pip install pillow`.',
        ) from error
    found = []
    for file in files:
        try:
            with Image.open(file) as image:
                found.append(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"The image cannot be read: {error}", where=str(file)) from error
    return {"images": found}


def _heard(checkpoint: Checkpoint, reads: str, files: list[Path], most: int) -> Tensor:
    """The sound in pieces of ten seconds, as the checkpoint's own settings turn them into numbers."""
    pieces: list[Any] = []
    rate = 0
    for file in files:
        values, rate = _wave(file)
        length = min(len(values), _PIECE_SECONDS * rate)
        pieces += [values[start : start + length] for start in range(0, len(values) - length + 1, length or 1)]
    return _prepared(checkpoint, reads, {"raw_speech": pieces[:most], "sampling_rate": rate})


def _wave(path: Path) -> tuple[Any, int]:
    """Samples between −1 and 1, float32 [samples], the mean of all channels; and how many there are in a second."""
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            content = file.readframes(min(file.getnframes(), _MAX_BYTES // 16))
    except (OSError, EOFError, wave.Error) as error:
        raise UserError(f"The sound cannot be read: {error}", where=str(path)) from error
    if width not in (2, 4) or not content:
        raise UserError("The sound is not in samples of 16 or 32 bits", where=str(path))
    values = np.frombuffer(content, f"<i{width}").astype(np.float32) / 2 ** (8 * width - 1)
    return values.reshape(-1, channels).mean(1), rate


def _prepared(checkpoint: Checkpoint, reads: str, given: dict[str, Any]) -> Tensor:
    """What the checkpoint's own settings (`preprocessor_config.json`) make of images or sound."""
    from transformers import AutoFeatureExtractor, AutoImageProcessor

    kind: Any = AutoImageProcessor if "images" in given else AutoFeatureExtractor
    folder = model_folder(checkpoint)
    try:
        prepare = kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        found: Tensor = prepare(**given, return_tensors="pt")[reads]
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint's preprocessing cannot be done: {str(error).strip()[:300] or type(error).__name__}",
            where=str(folder),
            remedy=f"Put preprocessor_config.json beside the weights, or give an array '{reads}' in a .npz file.",
        ) from error
    return found.to(torch.float32)
