"""The files of a tokenizer beside a checkpoint, parsed; nothing of `transformers` is needed to read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "mask", "cls")


@dataclass(frozen=True)
class TokenizerFiles:
    """Parsed tokenizer.json ({} for none), tokenizer_config.json, generation_config.json and the chat template."""

    tokenizer: Mapping[str, Any]
    settings: Mapping[str, Any]
    generation: Mapping[str, Any]
    template: str

    @property
    def special(self) -> dict[str, str]:
        """The text of each special token by its short name: "bos", "eos", …"""
        found: dict[str, str] = {}
        for short in _SPECIAL:
            named = self.settings.get(f"{short}_token")
            content = named.get("content") if isinstance(named, Mapping) else named
            if isinstance(content, str):
                found[short] = content
        return found


def read_tokenizer_files(companions: tuple[str, ...]) -> TokenizerFiles:
    """The files among the companions of a checkpoint. One that cannot be read, or is no JSON object, counts as none."""
    paths = {Path(path).name: Path(path) for path in companions}
    settings = {**_parsed(paths, "special_tokens_map.json"), **_parsed(paths, "tokenizer_config.json")}
    template = _text(paths, "chat_template.jinja") or _template(settings.get("chat_template"))
    return TokenizerFiles(
        _parsed(paths, "tokenizer.json"), settings, _parsed(paths, "generation_config.json"), template
    )


def _template(found: object) -> str:
    """One template, or the default among several that are named."""
    if isinstance(found, str):
        return found
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, Mapping)}
        return str(named.get("default") or "")
    return ""


def _parsed(paths: Mapping[str, Path], name: str) -> dict[str, Any]:
    try:
        found = json.loads(_text(paths, name) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(paths: Mapping[str, Path], name: str) -> str:
    try:
        return paths[name].read_text(encoding="utf-8-sig") if name in paths else ""
    except (OSError, UnicodeError):
        return ""
