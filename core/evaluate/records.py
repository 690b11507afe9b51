"""The text in records of data sets: a "text", a "content", the turns of a chat, an instruction with its answer."""

from __future__ import annotations

import json
from collections.abc import Iterable

_PLAIN = ("text", "content")
_CHATS = ("messages", "conversations")
_INSTRUCTION = ("instruction", "input", "output", "response")
_TURN = ("content", "value")


class RecordError(ValueError):
    """A record without text. what: what is wrong with it; place: where in the file it stands."""

    def __init__(self, what: str, place: str) -> None:
        super().__init__(what)
        self.what = what
        self.place = place


def texts_of_lines(content: str) -> str:
    """The texts of lines with a JSON record each, joined by empty lines. Raises RecordError."""
    texts = []
    for number, raw in enumerate(content.split("\n"), start=1):
        line = raw.strip(" \t\r\ufeff")
        if line:
            place = f"line {number}"
            texts.append(_text_of(_parsed(line, place), place))
    return "\n\n".join(texts)


def texts_of_array(content: str) -> str:
    """The texts of a JSON array of records, or of the first array in a JSON object, joined by empty lines.

    Raises RecordError.
    """
    found = _parsed(content, "")
    if isinstance(found, dict) and not any(key in found for key in (*_PLAIN, *_CHATS, *_INSTRUCTION)):
        found = next((value for value in found.values() if isinstance(value, list)), found)
    records = found if isinstance(found, list) else [found]
    return "\n\n".join(_text_of(record, f"record {number}") for number, record in enumerate(records, start=1))


def _parsed(content: str, place: str) -> object:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        subject = "line" if place else "file"
        raise RecordError(f"The {subject} is not JSON: {error.msg}", place or f"line {error.lineno}") from error
    except RecursionError as error:
        raise RecordError("The file is nested too deeply", place or "line 1") from error


def _text_of(record: object, place: str) -> str:
    if isinstance(record, str):
        return record
    if isinstance(record, dict):
        for key in _PLAIN:
            if isinstance(record.get(key), str):
                return str(record[key])
        turns = next((record[key] for key in _CHATS if isinstance(record.get(key), list)), None)
        parts = _turns(turns) if turns is not None else [record.get(key) for key in _INSTRUCTION]
        said = [part for part in parts if isinstance(part, str) and part]
        if said:
            return "\n".join(said)
    raise RecordError('The record has no "text", "content", "messages" or "instruction"', place)


def _turns(turns: Iterable[object]) -> list[object]:
    """What was said in each turn; of a turn in several parts, the parts that are text."""
    found: list[object] = []
    for turn in turns:
        said = next((turn[key] for key in _TURN if key in turn), None) if isinstance(turn, dict) else turn
        parts = said if isinstance(said, list) else [said]
        found += [part.get("text") if isinstance(part, dict) else part for part in parts]
    return found
