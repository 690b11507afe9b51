"""The language of the window: English source texts are the keys of one catalogue, `resources/translations`.

`tr` gives a text in the language of the thread that asks, `message` a text that is translated later. A language is
chosen for one thread, the window's: engines, jobs and the command line speak English, so what is stored is the same
everywhere, and a message from there carries its fields along, so that the window can say it again.
"""

from __future__ import annotations

import gettext
import re
import threading
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = {"en": "English", "zh_CN": "简体中文"}
"""By code, each in its own words."""
_PLACE = threading.local()
_PO_LINE = re.compile(r'(?:(msg\S+) )?"(.*)"')
_PLURAL_RULE = re.compile(r"plural=([^;]+);")


class Message(str):
    """An English text that still knows what it was made of, also after a way through a pipe.

    template: the key of the catalogue, with its fields in braces. many: its form for all but one, "" for none.
    """

    __slots__ = ("fields", "many", "template")
    template: str
    many: str
    fields: dict[str, object]

    def __new__(cls, template: str, many: str, fields: dict[str, object]) -> Message:
        form = many if many and fields.get("count") != 1 else template
        made = super().__new__(cls, form.format(**_shown(fields)))
        made.template, made.many, made.fields = template, many, fields
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Message, (self.template, self.many, self.fields)

    def rstrip(self, characters: str | None = None, /) -> str:
        """Stripped, and still a message where nothing is to be taken off."""
        stripped = super().rstrip(characters)
        return self if stripped == self else stripped


def message(text: str, /, **fields: object) -> str:
    """A text of the catalogue in English, for `tr` to translate where it is shown: "{count} layers fall back"."""
    return Message(text, "", fields) if fields else text


def capital(text: str) -> str:
    """A phrase as it begins a sentence; a message stays one, and one that begins with a field as it is."""
    if not isinstance(text, Message):
        return text[:1].upper() + text[1:]
    head = text.template[:1]
    return text if head == "{" else Message(head.upper() + text.template[1:], text.many, text.fields)


def counted(count: int, one: str, many: str) -> str:
    """A text that depends on a number, in the language of this thread: (3, "{count} layer", "{count} layers")."""
    return tr(Message(one, many, {"count": count}))


def tr(text: str, /, **fields: object) -> str:
    """A text in the language of this thread, its fields filled in; in English, and unknown, as it is."""
    catalogue: Catalogue | None = getattr(_PLACE, "catalogue", None)
    if catalogue is None:
        return text.format(**_shown(fields)) if fields else text
    if isinstance(text, Message):
        count = text.fields.get("count")
        if text.many and isinstance(count, int):
            found = catalogue.ngettext(text.template, text.many, count)
        else:
            found = _found(catalogue, text.template)
        return found.format(**_shown({name: _said(value) for name, value in text.fields.items()}))
    found = _found(catalogue, text)
    return found.format(**_shown(fields)) if fields else found


def use_language(code: str) -> None:
    """Speak this language in this thread from now on. Raises KeyError for one that is not in `LANGUAGES`."""
    LANGUAGES[code]
    _PLACE.code, _PLACE.catalogue = code, None if code == "en" else _catalogue(code)


def language() -> str:
    """The code of this thread's language."""
    return str(getattr(_PLACE, "code", "en"))


def nearest_language(wanted: list[str]) -> str:
    """The first language that is known of those a system asks for, as "zh-Hans-CN" or "zh_CN"; else English."""
    for code in wanted:
        head = code.replace("_", "-").split("-")[0]
        known = next((have for have in LANGUAGES if have.split("_")[0] == head), None)
        if known:
            return known
    return "en"


def _found(catalogue: Catalogue, text: str) -> str:
    """The catalogue's text; a phrase that begins a sentence is found under the phrase."""
    found = catalogue.gettext(text) if text else text
    if found != text or not text[:1].isupper():
        return found
    phrase = text[0].lower() + text[1:]
    said = catalogue.gettext(phrase)
    return found if said == phrase else said


def _said(value: object) -> object:
    """A field of a message in the language of this thread: messages, and phrases; single words may be names."""
    return tr(value) if isinstance(value, Message) or (isinstance(value, str) and " " in value) else value


def _shown(fields: dict[str, object]) -> dict[str, object]:
    """Whole numbers in thousands where a template gives no form of its own."""
    return {
        name: _Grouped(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in fields.items()
    }


class _Grouped(int):
    def __format__(self, form: str) -> str:
        return format(int(self), form or ",").replace("-", "\N{MINUS SIGN}")


class Catalogue:
    """Texts by their keys, as a .po file of gettext holds them."""

    def __init__(self, text: str) -> None:
        self.texts: dict[str, tuple[str, ...]] = {}
        for entry in text.split("\n\n"):
            said = _said_in(entry)
            if "msgid" not in said:
                continue
            self.texts[said.pop("msgid")] = tuple(said[key] for key in sorted(said) if key.startswith("msgstr"))
        rule = _PLURAL_RULE.search(self.texts[""][0])
        self._form_of = gettext.c2py(rule[1] if rule else "n != 1")

    def gettext(self, text: str) -> str:
        return self.texts.get(text, ("",))[0] or text

    def ngettext(self, one: str, many: str, count: int) -> str:
        forms = self.texts.get(one, ())
        form = int(self._form_of(count))
        return forms[form] if form < len(forms) and forms[form] else one if count == 1 else many


def _said_in(entry: str) -> dict[str, str]:
    """Keyword → text of one entry, its lines joined."""
    found: dict[str, str] = {}
    key = ""
    for line in entry.splitlines():
        match = _PO_LINE.fullmatch(line)
        if match:
            key = match[1] or key
            found[key] = found.get(key, "") + match[2].encode("latin-1", "backslashreplace").decode("unicode_escape")
    return found


@cache
def _catalogue(code: str) -> Catalogue:
    return Catalogue((files("benchvise.resources") / "translations" / f"{code}.po").read_text(encoding="utf-8"))
