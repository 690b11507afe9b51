"""Every text that the window says is in the catalogue, and is translated."""

import ast
import re

import pytest

from benchvise.core.language import LANGUAGES, Catalogue
from tests.quality.catalogue import FOLDER, ROOT, source_texts, sources, translations

REMEDY = "bring the catalogue up to date with `make translations`, and translate what it names"
TRANSLATED = [code for code in LANGUAGES if code != "en"]
FIELD = re.compile(r"\{[^}]*\}")
SENTENCE = re.compile(r"[A-Za-z]{2,}[^A-Za-z]* [^A-Za-z]*[a-z]{2,}")
OUTSIDE = ("cli", "screenshot.py", "system_check.py", "__main__.py", "start.py", "appearance.py")
SAID = {"tr", "message", "counted", "plural"}
UNSEEN = {
    "ValueError", "TypeError", "KeyError", "RuntimeError", "UnknownTitleError", "setObjectName", "setStyleSheet",
    "compile", "Data", "setTitle", "_edit", "set_recipe", "getSaveFileName", "setting",
}  # fmt: skip
NAMES = {"Heat map", "Once upon a time", "int8 channel", "8.88 GB → 8.88 GB"}


@pytest.mark.parametrize("code", TRANSLATED)
def test_the_catalogue_has_what_the_sources_say_and_no_more(code):
    known, said = set(translations(code)), source_texts()
    assert (said - known, known - said) == (set(), set()), REMEDY


@pytest.mark.parametrize("code", TRANSLATED)
def test_everything_is_translated_with_the_same_fields(code):
    texts = translations(code)
    assert [key for key, text in texts.items() if not text] == [], REMEDY
    for key, text in texts.items():
        source = "".join(key) if isinstance(key, tuple) else key
        assert set(FIELD.findall(text)) == set(FIELD.findall(source)), key


@pytest.mark.parametrize("code", TRANSLATED)
def test_the_window_reads_what_people_wrote(code):
    """By Babel as an independent reader of the same file."""
    read = Catalogue((FOLDER / f"{code}.po").read_text(encoding="utf-8"))
    for key, text in translations(code).items():
        found = read.ngettext(*key, 3) if isinstance(key, tuple) else read.gettext(key)
        assert found == text


def test_other_plural_rules_are_followed():
    read = Catalogue(
        'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=(n > 1);\\n"\n\n'
        'msgid "{count} layer"\nmsgid_plural "{count} layers"\n'
        'msgstr[0] "{count} couche"\nmsgstr[1] "{count} couches"\n'
    )
    forms = [read.ngettext("{count} layer", "{count} layers", count) for count in (0, 1, 2)]
    assert forms == ["{count} couche", "{count} couche", "{count} couches"]


def test_no_sentence_of_the_window_bypasses_the_catalogue():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in sources()
        if path.relative_to(ROOT).parts[0] == "app" and not {*path.parts, path.name}.intersection(OUTSIDE)
        for line, text in _bare_sentences(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "say it with `tr`, or name it with `message`"


def _bare_sentences(tree):
    """(line, text) of every literal that reads as words, outside docstrings, calls that translate and faults."""
    unseen = {id(inner) for node in ast.walk(tree) for outer in _unseen_parts(node) for inner in ast.walk(outer)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if text not in NAMES and SENTENCE.search(text) and id(node) not in unseen:
            yield node.lineno, text


def _unseen_parts(node):
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in SAID | UNSEEN:
            yield node
        case ast.Expr(value=ast.Constant()):
            yield node
        case ast.Assign(targets=[ast.Name(id="MENUS" | "TOOLBAR")]) | ast.AnnAssign(target=ast.Name(id="MENUS")):
            yield node
