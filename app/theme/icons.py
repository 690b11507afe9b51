"""Icons from QtAwesome in the theme's colours."""

from __future__ import annotations

import qtawesome
from PySide6.QtGui import QIcon

from benchvise.app.theme.theme import current_theme


def icon(name: str, colour: str = "") -> QIcon:
    """An icon by its QtAwesome name ("mdi6.folder-open"), in the theme's text colour unless another is given."""
    theme = current_theme()
    made = qtawesome.icon(
        name, color=colour or theme.text, color_disabled=theme.faint, color_active=colour or theme.text
    )
    assert isinstance(made, QIcon)
    return made
