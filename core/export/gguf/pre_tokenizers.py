"""How a byte-level tokenizer cuts text into words, by the name that llama.cpp has for it.

A tokenizer.json says it by regular expressions; llama.cpp knows sets of them, each under a name. Two tokenizers that
cut in the same way have one name, whatever model they belong to.

Source: llama.cpp, src/llama-vocab.cpp, `llm_tokenizer_bpe`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN2 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST
_QWEN35 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD, _SHOUT = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_SLASHES = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT4O = rf"{_WORD}{_ENDINGS}?|{_SHOUT}{_ENDINGS}?|\p{{N}}{{1,3}}{_SLASHES}"
_TEKKEN = rf"{_WORD}|{_SHOUT}|\p{{N}}{_SLASHES}"
_MARKS = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    _MARKS + r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)

_NAMES: Mapping[tuple[str, ...], str] = {
    (_GPT2,): "gpt-2",
    (r"\p{N}", _GPT2): "starcoder",
    (_LLAMA3,): "dbrx",
    (_QWEN2,): "qwen2",
    (_QWEN35,): "qwen35",
    (_GPT4O,): "gpt-4o",
    (_TEKKEN,): "tekken",
    _DEEPSEEK3: "deepseek-v3",
}
_WITHOUT_MERGES = {"dbrx": "llama-bpe"}
"""Where words that are whole tokens are taken before any merge, as `ignore_merges` says."""

DEFAULT = "default"


def pre_tokenizer(tokenizer: Mapping[str, object]) -> str:
    """The name for a parsed tokenizer.json; "" when llama.cpp has none that cuts in that way."""
    found = _NAMES.get(tuple(_patterns(tokenizer.get("pre_tokenizer"))), "")
    model = tokenizer.get("model")
    ignores = isinstance(model, Mapping) and bool(model.get("ignore_merges"))
    return _WITHOUT_MERGES.get(found, found) if ignores else found


def is_byte_level(tokenizer: Mapping[str, object]) -> bool:
    """Whether tokens are written in the alphabet that stands for bytes."""
    found = [*steps(tokenizer.get("pre_tokenizer")), *steps(tokenizer.get("decoder"))]
    return any(step.get("type") == "ByteLevel" for step in found)


def _patterns(step: object) -> Iterator[str]:
    """The expressions by which words are cut, one after another."""
    for each in steps(step):
        match each.get("type"):
            case "Split":
                pattern = each.get("pattern")
                yield str(pattern.get("Regex", pattern.get("String", ""))) if isinstance(pattern, Mapping) else ""
            case "Digits":
                yield r"\p{N}" if each.get("individual_digits") else r"\p{N}+"
            case "ByteLevel":
                if each.get("use_regex", True):
                    yield _GPT2
            case kind:
                yield str(kind)


def steps(step: object) -> Iterator[Mapping[str, object]]:
    """The steps of a sequence, or the one step, of a pre-tokenizer, normalizer, decoder or post-processor."""
    if not isinstance(step, Mapping):
        return
    inner = next((step[key] for key in ("pretokenizers", "normalizers", "decoders", "processors") if key in step), None)
    if step.get("type") == "Sequence" and isinstance(inner, list):
        for each in inner:
            yield from steps(each)
    else:
        yield step
