"""Pixels as the screen shows them. `QWidget.grab` paints anew and therefore hides what was not repainted."""

from PySide6.QtCore import QPoint
from PySide6.QtGui import QGuiApplication, QImage


def on_screen(widget):
    """What the screen shows of a widget."""
    corner = widget.mapToGlobal(QPoint(0, 0))
    picture = QGuiApplication.primaryScreen().grabWindow(0, corner.x(), corner.y(), widget.width(), widget.height())
    return picture.toImage().convertToFormat(QImage.Format.Format_RGB32)


def painted_anew(widget):
    """What the widget shows when all of it is painted."""
    return widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
