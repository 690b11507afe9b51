"""The language of the window: chosen, or after the system; Qt's own texts follow."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QTranslator

from benchvise.core.language import nearest_language, use_language


def speak(choice: str) -> None:
    """Use the chosen language in this thread from now on, "" for the system's; what is built later speaks it."""
    code = choice or nearest_language(list(QLocale.system().uiLanguages()))
    use_language(code)
    application = QCoreApplication.instance()
    assert application is not None
    for old in application.findChildren(QTranslator):
        application.removeTranslator(old)
        old.deleteLater()
    translator = QTranslator(application)
    if translator.load(f"qtbase_{code}", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)):
        application.installTranslator(translator)
