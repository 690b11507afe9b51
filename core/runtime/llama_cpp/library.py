"""llama.cpp by the functions that the wheel `xllamacpp` carries: loading a file, its tokens, its outputs.

Everything here runs in a process of its own (`core.runtime.llama_cpp.child`): llama.cpp ends the process that it is in
where it meets what it does not expect.

Source: llama.cpp, include/llama.h. Parameters are taken from the library's own defaults and passed on as opaque bytes,
so that fields which versions add do no harm; the few that are set are found by their default values first.
"""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGE = "xllamacpp"
_MAX_BYTES = 1024
_CONTEXT_DEFAULTS = (512, 2048, 512)
_MIN_TOKENS = 32
_WARNING = 3


class LlamaError(Exception):
    """llama.cpp said no; the message is its own."""


class _Parameters(ctypes.Structure):
    """A structure of any size up to this: the library reads and writes only as much as it knows."""

    _fields_ = (("words", ctypes.c_uint32 * (_MAX_BYTES // 4)),)


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
        ("more", ctypes.c_uint64 * 16),
    )


_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_POINTER, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p
_FLOATS = ctypes.POINTER(ctypes.c_float)
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "llama_log_set": (None, [_LOG, _POINTER]),
    "llama_backend_init": (None, []),
    "llama_model_default_params": (_Parameters, []),
    "llama_context_default_params": (_Parameters, []),
    "llama_model_load_from_file": (_POINTER, [_TEXT, _Parameters]),
    "llama_init_from_model": (_POINTER, [_POINTER, _Parameters]),
    "llama_model_get_vocab": (_POINTER, [_POINTER]),
    "llama_model_n_embd": (_INT, [_POINTER]),
    "llama_model_n_ctx_train": (_INT, [_POINTER]),
    "llama_vocab_n_tokens": (_INT, [_POINTER]),
    "llama_vocab_type": (_INT, [_POINTER]),
    "llama_batch_init": (_Batch, [_INT, _INT, _INT]),
    "llama_batch_free": (None, [_Batch]),
    "llama_decode": (_INT, [_POINTER, _Batch]),
    "llama_get_memory": (_POINTER, [_POINTER]),
    "llama_memory_clear": (None, [_POINTER, ctypes.c_bool]),
    "llama_get_logits": (_FLOATS, [_POINTER]),
    "llama_get_embeddings_seq": (_FLOATS, [_POINTER, _INT]),
    "llama_set_embeddings": (None, [_POINTER, ctypes.c_bool]),
    "llama_set_n_threads": (None, [_POINTER, _INT, _INT]),
    "llama_tokenize": (
        _INT, [_POINTER, _TEXT, _INT, ctypes.POINTER(_INT), _INT, ctypes.c_bool, ctypes.c_bool],
    ),
}  # fmt: skip


class Library:
    """The functions, each looked up at once. Raises LlamaError when the wheel is absent or lacks one of them."""

    def __init__(self) -> None:
        found = find_spec(PACKAGE)
        files = sorted(Path(found.origin).parent.glob("*.so")) if found is not None and found.origin else []
        if not files:
            raise LlamaError(f"the package '{PACKAGE}' is not installed")
        library = ctypes.CDLL(str(files[0]))
        self.messages: list[str] = []
        try:
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
                setattr(self, name, function)
        except AttributeError as error:
            raise LlamaError(f"this version of '{PACKAGE}' lacks a function: {error}") from error
        self._log = _LOG(self._note)  # kept, because the library calls it
        self.llama_log_set(self._log, None)
        self.llama_backend_init()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def _note(self, level: int, content: bytes, _data: object) -> None:
        if level >= _WARNING:
            self.messages.append(content.decode(errors="replace").strip())

    def last_message(self) -> str:
        """What it last complained of, for an error."""
        said = [message for message in self.messages if "error" in message or "fail" in message] or self.messages
        return said[0] if said else "it gave no reason"


class Model:
    """One loaded file and a context for sequences of so many tokens. Raises LlamaError where it does not load."""

    def __init__(self, path: Path, tokens: int, threads: int, *, embeds: bool = False) -> None:
        self.library = Library()
        self._model = self.library.llama_model_load_from_file(
            str(path).encode(), self.library.llama_model_default_params()
        )
        if not self._model:
            raise LlamaError(self.library.last_message())
        self.vocabulary = self.library.llama_model_get_vocab(self._model)
        self.vocabulary_size: int = self.library.llama_vocab_n_tokens(self.vocabulary)
        self._context = self.library.llama_init_from_model(self._model, self._parameters(tokens))
        if not self._context:
            raise LlamaError(self.library.last_message())
        self.library.llama_set_n_threads(self._context, threads, threads)
        self.library.llama_set_embeddings(self._context, embeds)

    @property
    def reads_text(self) -> bool:
        """Whether the file has a tokenizer."""
        return bool(self.library.llama_vocab_type(self.vocabulary))

    @property
    def context_length(self) -> int:
        """How many tokens the network was trained with."""
        return int(self.library.llama_model_n_ctx_train(self._model))

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        """The tokens of a text; special: with those that stand around every text.

        Raises LlamaError where the library counts more tokens than the text can have.
        """
        content = text.encode()
        room = len(content) + 16
        found = (ctypes.c_int32 * room)()
        count = self.library.llama_tokenize(self.vocabulary, content, len(content), found, room, special, False)
        if count < 0:
            raise LlamaError("the text has more tokens than bytes")
        return list(found[:count])

    def logits(self, sequence: NDArray[np.int64]) -> NDArray[np.float32]:
        """Outputs at every position of `sequence` int64 [tokens], float32 [tokens, vocabulary].

        Raises LlamaError where the library does not compute them.
        """
        count = len(sequence)
        self._decode(sequence)
        return np.ctypeslib.as_array(self.library.llama_get_logits(self._context), (count, self.vocabulary_size)).copy()

    def embedding(self, sequence: NDArray[np.int64]) -> NDArray[np.float32]:
        """The pooled vector of `sequence` int64 [tokens], float32 [width].

        Raises LlamaError where the file says of no way to pool.
        """
        self._decode(sequence)
        found = self.library.llama_get_embeddings_seq(self._context, 0)
        if not found:
            raise LlamaError("the file says of no way to make one vector of its outputs")
        return np.ctypeslib.as_array(found, (self.library.llama_model_n_embd(self._model),)).copy()

    def _decode(self, sequence: NDArray[np.int64]) -> None:
        batch = self.library.llama_batch_init(len(sequence), 0, 1)
        for place, token in enumerate(sequence.tolist()):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, 0, 1
        batch.n_tokens = len(sequence)
        memory = self.library.llama_get_memory(self._context)
        if memory:
            self.library.llama_memory_clear(memory, True)
        answer = self.library.llama_decode(self._context, batch)
        self.library.llama_batch_free(batch)
        if answer:
            raise LlamaError(f"decoding ended with {answer}: {self.library.last_message()}")

    def _parameters(self, tokens: int) -> _Parameters:
        found: _Parameters = self.library.llama_context_default_params()
        if tuple(found.words[: len(_CONTEXT_DEFAULTS)]) != _CONTEXT_DEFAULTS:
            raise LlamaError(f"this version of '{PACKAGE}' has other parameters than are known")
        for place in range(len(_CONTEXT_DEFAULTS)):  # tokens of a context, of a batch, and of what is computed at once
            found.words[place] = max(_MIN_TOKENS, tokens)
        return found
