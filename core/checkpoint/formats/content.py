"""What a file is, told from its first bytes. Names are asked only where the bytes leave a doubt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchvise.core.checkpoint.safetensors_header import MAX_HEADER_BYTES
from benchvise.core.checkpoint.zip_directory import ZIP_MAGIC, read_directory
from benchvise.core.errors import CheckpointError

HEAD_BYTES = 512

_PICKLES = b"(c}]){\x80"
_CONVERT = "Open the checkpoint that it was converted from: safetensors, torch or GGUF."
_UNPACK = "Unpack it, and open what is inside."


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A kind of file that is known but holds no tensors that can be read, and what to do instead."""

    what: str
    remedy: str


_MAGICS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GGUF", "gguf"), (0, b"FUGG", "big-endian gguf"), (0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    (0, b"\x93NUMPY", "npy"), (0, ZIP_MAGIC, "zip"), (0, b"PK\x05\x06", "zip"),
    (0, b"lmgg", "ggml"), (0, b"fmgg", "ggml"), (0, b"tjgg", "ggml"), (0, b"algg", "ggml"), (0, b"ggml", "ggml"),
    (0, b"ggjt", "ggml"), (0, b"ggmf", "ggml"), (257, b"ustar", "tar"), (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"), (0, b"\xfd7zXZ\0", "xz"), (0, b"\x28\xb5\x2f\xfd", "zstandard"), (0, b"7z\xbc\xaf", "7z"),
    (0, b"Rar!", "rar"), (4, b"TFL3", "tflite"), (0, b"version https://git-lfs", "git-lfs"),
    (0, b"\x7fELF", "program"), (0, b"MZ", "program"), (0, b"%PDF", "pdf"), (0, b"PAR1", "parquet"),
    (0, b"ARROW1", "arrow"), (0, b"SQLite format 3", "sqlite"), (0, b"\x89PNG", "image"), (0, b"\xff\xd8\xff", "image"),
    (4, b"ORTM", "ort"), (0, b"ftrt", "tensorrt"), (0, b"<?xml", "xml"),
)  # fmt: skip

UNREADABLE: dict[str, Unreadable] = {
    "ggml": Unreadable(
        "This is a file of ggml from before GGUF, which names no layout of its blocks",
        "Convert it with the `convert` scripts of llama.cpp or whisper.cpp, or open the original checkpoint.",
    ),
    "big-endian gguf": Unreadable("This is a GGUF file of a big-endian machine", "Convert it to little-endian."),
    "ctranslate2": Unreadable(
        "This is a model of CTranslate2",
        "Open the checkpoint that `ct2-transformers-converter` made it from.",
    ),
    "tar": Unreadable("This is a tar archive", f"{_UNPACK} A torch file of today only bears that name."),
    "gzip": Unreadable("This is a file packed by gzip", _UNPACK),
    "bzip2": Unreadable("This is a file packed by bzip2", _UNPACK),
    "xz": Unreadable("This is a file packed by xz", _UNPACK),
    "zstandard": Unreadable("This is a file packed by Zstandard", _UNPACK),
    "7z": Unreadable("This is a 7z archive", _UNPACK),
    "rar": Unreadable("This is a RAR archive", _UNPACK),
    "tflite": Unreadable("This is a model of TensorFlow Lite", _CONVERT),
    "ort": Unreadable("This is a model in the format of ONNX Runtime (.ort)", "Open the .onnx file it was made from."),
    "tensorrt": Unreadable("This is an engine of TensorRT", _CONVERT),
    "coreml": Unreadable("This is a model of Core ML", _CONVERT),
    "openvino": Unreadable("This is a model of OpenVINO", _CONVERT),
    "program": Unreadable("This is a program, not a checkpoint", "Choose a file of weights."),
    "pdf": Unreadable("This is a PDF document", "Choose a file of weights."),
    "parquet": Unreadable("This is a table (Parquet), not a checkpoint", "Choose a file of weights."),
    "arrow": Unreadable("This is a table (Arrow), not a checkpoint", "Choose a file of weights."),
    "sqlite": Unreadable("This is a database (SQLite), not a checkpoint", "Choose a file of weights."),
    "image": Unreadable("This is an image", "Choose a file of weights."),
    "html": Unreadable(
        "This is a web page, not a checkpoint", "The download went wrong: fetch the file itself, logged in if need be."
    ),
    "json": Unreadable(
        "This is a JSON file, not a checkpoint", "Open the folder that it lies in, or a file of weights."
    ),
    "xml": Unreadable(
        "This is an XML file, not a checkpoint", "Open the folder that it lies in, or a file of weights."
    ),
    "text": Unreadable("This is a text file, not a checkpoint", "Choose a file of weights."),
    "empty": Unreadable("The file is empty", "Download or save it again."),
    "other zip": Unreadable(
        "This zip archive was not written by torch.save",
        "If it is an archive of a checkpoint, unpack it and open what is inside.",
    ),
}


def kind_of(path: Path) -> str:
    """The kind of the file at `path`: a key of the readers or of `UNREADABLE`, or "" when nothing is known of it.

    Raises CheckpointError when the file cannot be read, or is a damaged zip archive.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            kind = _kind_of_head(head, path)
            if kind != "zip":
                return kind
            return _kind_of_archive(list(read_directory(file, str(path))))
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error


def _kind_of_head(head: bytes, path: Path) -> str:
    suffix = path.suffix.lower()
    if not head:
        return "safetensors" if suffix == ".safetensors" else "empty"
    for offset, magic, kind in _MAGICS:
        if head.startswith(magic, offset) and not (kind == "program" and head[:2] == b"MZ" and b"PE" not in head):
            return kind
    length = int.from_bytes(head[:8], "little")
    if suffix == ".safetensors" or (head[8:9] == b"{" and length <= MAX_HEADER_BYTES):
        return "safetensors"
    if suffix == ".onnx" or _starts_like_onnx(head):
        return "onnx"
    if suffix == ".msgpack" or _starts_like_msgpack(head):
        return "msgpack"
    if _starts_like_ctranslate2(head):
        return "ctranslate2"
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return "torch"
    return _kind_of_text(head) or ("torch" if head[0] in _PICKLES else "")


def _kind_of_archive(names: list[str]) -> str:
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return "torch"
    if any(name.endswith(".weights.h5") for name in names):
        return "keras"
    arrays = [name for name in names if name.endswith(".npy")]
    if arrays and len(arrays) == len([name for name in names if not name.endswith("/")]):
        return "npz"
    return "npz" if not names else "other zip"


def _starts_like_onnx(head: bytes) -> bool:
    """The field 1 (the version of the format) as a small number, then the producer, the graph, or the opset."""
    return head[:1] == b"\x08" and b"\x01" <= head[1:2] <= b"\x14" and head[2:3] in (b"\x12", b"\x1a", b"\x3a", b"\x42")


def _starts_like_msgpack(head: bytes) -> bool:
    """A map whose first key is a short text, followed by another map or an extension."""
    start = {0xDE: 3, 0xDF: 5}.get(head[0], 1 if 0x81 <= head[0] <= 0x8F else 0)
    if not start or len(head) < start + 2:
        return False
    size, at = (head[start + 1], start + 2) if head[start] == 0xD9 else (head[start] & 0x1F, start + 1)
    key = head[at : at + size]
    return (head[start] == 0xD9 or head[start] >> 5 == 0b101) and len(key) == size and _is_name(key)


def _starts_like_ctranslate2(head: bytes) -> bool:
    """The version of the format, then the name of a specification as a text with its length."""
    length = int.from_bytes(head[4:6], "little")
    name = head[6 : 6 + length]
    return head[1:4] == b"\0\0\0" and 4 < length < 100 and name[-1:] == b"\0" and name[:-1].isalnum()


def _is_name(key: bytes) -> bool:
    return bool(key) and all(32 < byte < 127 for byte in key)


def _kind_of_text(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "html"
    if any(byte < 9 for byte in head) or head[:1] in (b"(", b"c", b"]", b"}"):
        return ""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return ""
    return "json" if text[:1] == b"{" or text[:2] in (b"[{", b"[[", b'["', b"[]") else "text"
