"""A tokenizer.json as the metadata of a GGUF file.

Source: ggml/docs/gguf.md; llama.cpp, src/llama-vocab.cpp and convert_hf_to_gguf.py, gguf-py/gguf/vocab.py.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchvise.core.export.gguf.entries import MetadataEntry, count, flag, numbers, octets, signed, text, texts
from benchvise.core.export.gguf.pre_tokenizers import DEFAULT, is_byte_level, pre_tokenizer, steps
from benchvise.core.export.gguf.tokenizer_files import TokenizerFiles

_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>$")
_IDS = {"bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask"}
_SPACE = "▁"
_RARE = -1e6
"""The score of tokens that no merge makes: all others are tried before them."""

NO_TOKENIZER = (
    "no tokenizer.json lies beside the weights, so the file has no tokenizer: llama.cpp computes, but reads no text"
)


@dataclass
class _Tokens:
    """Texts, types and scores by id. Ids that nothing names are unused."""

    texts: list[str] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def put(self, index: int, content: str, kind: int, score: float = 0.0) -> None:
        while len(self.texts) <= index:
            self.texts.append(f"[PAD{len(self.texts)}]")
            self.types.append(_UNUSED)
            self.scores.append(_RARE)
        self.texts[index], self.types[index], self.scores[index] = content, kind, score


@dataclass(frozen=True)
class Vocabulary:
    """entries: the metadata. tokens: how many there are, 0 without a tokenizer. notes: what is not as in the original.

    refusal: why llama.cpp could not load the file with it, "" when it can.
    """

    entries: Mapping[str, MetadataEntry]
    tokens: int = 0
    notes: tuple[str, ...] = ()
    refusal: str = ""


def vocabulary(files: TokenizerFiles, config: Mapping[str, object], rows: int) -> Vocabulary:
    """The tokenizer for a network whose embedding has `rows` rows."""
    model = files.tokenizer.get("model")
    if not isinstance(model, Mapping):
        return _without(NO_TOKENIZER, rows)
    kinds = {"BPE": _bpe, "Unigram": _unigram, "WordPiece": _word_piece}
    make = kinds.get(str(model.get("type") or "BPE"))
    if make is None:
        return _without(f"llama.cpp has no tokenizer of the kind {model.get('type')}, so the file has none", rows)
    tokens, entries, note = make(files.tokenizer, model)
    if tokens is None:
        return _without(note, rows)
    if len(tokens.texts) > rows > 0:
        refusal = f"The tokenizer has {len(tokens.texts)} tokens, and the embedding {rows} rows"
        return Vocabulary({}, len(tokens.texts), refusal=refusal)
    if rows > len(tokens.texts):
        last = rows - 1
        tokens.put(last, f"[PAD{last}]", _UNUSED, _RARE)
    if "tokenizer.ggml.scores" in entries:  # one for each token, those that nothing names among them
        entries["tokenizer.ggml.scores"] = numbers(tokens.scores)
    entries |= {"tokenizer.ggml.tokens": texts(tokens.texts), "tokenizer.ggml.token_type": signed(tokens.types)}
    entries |= _special(files, config, {content: index for index, content in enumerate(tokens.texts)})
    if files.template:
        entries["tokenizer.chat_template"] = text(files.template)
    return Vocabulary(entries, len(tokens.texts), (note,) if note else ())


def _without(note: str, rows: int) -> Vocabulary:
    return Vocabulary({"tokenizer.ggml.model": text("none")}, 0, (note,) if rows else ())


_Made = tuple[_Tokens | None, dict[str, MetadataEntry], str]


def _bpe(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> _Made:
    pairs = [each.split(" ", 1) if isinstance(each, str) else list(each) for each in model.get("merges", ())]
    if is_byte_level(tokenizer):
        return _byte_pairs(tokenizer, model, pairs)
    if not model.get("byte_fallback"):
        return None, {}, "its byte-pair tokenizer is of no kind that llama.cpp has, so the file has none"
    scores = {"".join(pair): -float(rank) for rank, pair in reversed(list(enumerate(pairs, 1)))}
    tokens = _Tokens()
    for content, index in model.get("vocab", {}).items():
        kind = _BYTE if _BYTE_TOKEN.match(content) else _NORMAL
        kind = _UNKNOWN if content == model.get("unk_token") else kind
        tokens.put(index, content, kind, 0.0 if kind != _NORMAL else scores.get(content, _RARE))
    _add(tokens, tokenizer, model.get("unk_token"), spaced=True)
    entries = {
        "tokenizer.ggml.model": text("llama"),
        "tokenizer.ggml.pre": text(DEFAULT),
        "tokenizer.ggml.scores": numbers(tokens.scores),
        "tokenizer.ggml.add_space_prefix": flag(_prefixed(tokenizer)),
    }
    return tokens, entries, ""


def _byte_pairs(tokenizer: Mapping[str, Any], model: Mapping[str, Any], pairs: list[list[str]]) -> _Made:
    tokens = _Tokens()
    for content, index in model.get("vocab", {}).items():
        tokens.put(index, content, _NORMAL)
    _add(tokens, tokenizer, None)
    name = pre_tokenizer(tokenizer)
    note = (
        "" if name else "its tokenizer cuts text in a way that llama.cpp has no name for, and takes the nearest instead"
    )
    entries = {
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text(name or DEFAULT),
        "tokenizer.ggml.merges": texts(" ".join(part.replace(" ", "Ġ") for part in pair) for pair in pairs),
        "tokenizer.ggml.add_space_prefix": flag(any(step.get("add_prefix_space") for step in _cutting(tokenizer))),
    }
    return tokens, entries, note


def _unigram(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> _Made:
    tokens = _Tokens()
    for index, (content, score) in enumerate(model.get("vocab", ())):
        kind = _UNKNOWN if index == model.get("unk_id") else _BYTE if _BYTE_TOKEN.match(content) else _NORMAL
        tokens.put(index, content, kind, score)
    _add(tokens, tokenizer, None, spaced=True)
    normal = list(steps(tokenizer.get("normalizer")))
    table = next((step["precompiled_charsmap"] for step in normal if step.get("precompiled_charsmap")), "")
    entries = {
        "tokenizer.ggml.model": text("t5"),
        "tokenizer.ggml.pre": text(DEFAULT),
        "tokenizer.ggml.scores": numbers(tokens.scores),
        "tokenizer.ggml.add_space_prefix": flag(_prefixed(tokenizer)),
        "tokenizer.ggml.remove_extra_whitespaces": flag(any(_squeezes(step) for step in normal)),
    }
    if table:
        entries["tokenizer.ggml.precompiled_charsmap"] = octets(base64.b64decode(str(table)))
    return tokens, entries, ""


def _word_piece(tokenizer: Mapping[str, Any], model: Mapping[str, Any]) -> _Made:
    """Words begin with a mark there; here their continuations do."""
    tokens = _Tokens()
    mark = str(model.get("continuing_subword_prefix") or "##")
    for content, index in model.get("vocab", {}).items():
        inner = content.startswith(mark)
        tokens.put(index, content.removeprefix(mark) if inner else _SPACE + content, _NORMAL)
    _add(tokens, tokenizer, model.get("unk_token"))
    normal = list(steps(tokenizer.get("normalizer")))
    cased = any(step.get("type") == "BertNormalizer" and step.get("lowercase") is False for step in normal)
    note = (
        "llama.cpp writes all text in small letters for a tokenizer of words, and this one keeps capitals"
        if cased
        else ""
    )
    return tokens, {"tokenizer.ggml.model": text("bert"), "tokenizer.ggml.pre": text(DEFAULT)}, note


def _add(tokens: _Tokens, tokenizer: Mapping[str, Any], unknown: object, *, spaced: bool = False) -> None:
    """Put in what was added to the vocabulary. spaced: whether a mark stands for a space."""
    for added in tokenizer.get("added_tokens") or ():
        content, index = str(added.get("content", "")), int(added.get("id", 0))
        kind = _CONTROL if added.get("special") else _USER
        kind = _UNKNOWN if content == unknown else kind
        written = content.replace(_SPACE, " ") if spaced and kind == _USER else content
        tokens.put(index, written, kind, 0.0)


def _prefixed(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a text begins as if a space stood before it."""
    for step in [*steps(tokenizer.get("normalizer")), *_cutting(tokenizer)]:
        if step.get("type") == "Prepend":
            return True
        if step.get("type") == "Metaspace":
            return step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space", True) is not False
    return False


def _cutting(tokenizer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from steps(tokenizer.get("pre_tokenizer"))


def _squeezes(step: Mapping[str, Any]) -> bool:
    pattern = step.get("pattern")
    return isinstance(pattern, Mapping) and pattern.get("Regex") == " {2,}"


def _special(files: TokenizerFiles, config: Mapping[str, object], ids: Mapping[str, int]) -> dict[str, MetadataEntry]:
    """Ids of special tokens, and whether a text begins and ends with them."""
    special = files.special
    found = {short: ids[content] for short, content in special.items() if content in ids}
    for short in ("bos", "eos", "pad"):
        named = config.get(f"{short}_token_id")
        first = named[0] if isinstance(named, list) and named else named
        if short not in found and isinstance(first, int) and 0 <= first < len(ids):
            found[short] = first
    if "cls" in found:
        found.setdefault("bos", found["cls"])
        found.setdefault("eos", found.get("sep", found["cls"]))
    entries = {
        f"tokenizer.ggml.{_IDS[short]}_token_id": count(index) for short, index in found.items() if short in _IDS
    }
    ends = files.generation.get("eos_token_id")
    more = [each for each in ends if each != found.get("eos")] if isinstance(ends, list) else []
    if more and isinstance(more[0], int):
        entries["tokenizer.ggml.eot_token_id"] = count(more[0])
    begins, closes = _around(files, {found.get("bos"), found.get("cls")}, {found.get("eos"), found.get("sep")}, ids)
    return entries | {"tokenizer.ggml.add_bos_token": flag(begins), "tokenizer.ggml.add_eos_token": flag(closes)}


def _around(
    files: TokenizerFiles, first: set[int | None], last: set[int | None], ids: Mapping[str, int]
) -> tuple[bool, bool]:
    """Whether the post-processor puts a token before, and after, a text."""
    for step in steps(files.tokenizer.get("post_processor")):
        if step.get("type") in ("BertProcessing", "RobertaProcessing"):
            return True, True
        single = step.get("single")
        if step.get("type") == "TemplateProcessing" and isinstance(single, list) and single:
            names = [each.get("SpecialToken", {}).get("id") if isinstance(each, Mapping) else None for each in single]
            known = [ids.get(str(name)) if name else None for name in names]
            return known[0] is not None and known[0] in first, known[-1] is not None and known[-1] in last
    return bool(files.settings.get("add_bos_token")), bool(files.settings.get("add_eos_token"))
