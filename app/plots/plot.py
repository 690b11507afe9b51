"""What every plot has: the theme, zoom, copy, PNG, SVG and CSV, a read-out, a sentence for those who cannot see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyqtgraph as pg
import qtawesome
from PySide6.QtCore import QEvent, QPointF, QSize, Qt, QTimer
from PySide6.QtGui import QAction, QEnterEvent, QGuiApplication, QImage, QResizeEvent
from PySide6.QtWidgets import QFileDialog, QMenu, QToolButton, QVBoxLayout, QWidget

from benchvise.app.plots.overlay import Corner, Readout
from benchvise.app.plots.saving import Data, csv_of, image_of, png_of, svg_of, tsv_of, write_whole
from benchvise.app.theme.theme import Theme, current_theme, theme_notifier
from benchvise.core.errors import OutputError
from benchvise.core.language import message, tr

REDRAW_MS = 40
"""At most 25 pictures a second, however fast the data change."""

_FILTERS = {
    ".png": message("PNG picture (*.png)"),
    ".svg": message("SVG drawing (*.svg)"),
    ".csv": message("CSV table (*.csv)"),
}


class Plot(QWidget):
    """A canvas with icons in its corner. Subclasses build items once, paint them in `draw` and `paint_theme`.

    name: the stem of saved files. free_corner: no data lie at the top right, so the icons stay in sight. A subclass
    says what it shows in `data` and `summary`.
    """

    name = "plot"
    free_corner = False

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.canvas = pg.GraphicsLayoutWidget()
        self.canvas.setMinimumSize(160, 80)
        self.canvas.ci.setContentsMargins(8, 4, 8, 4)
        self.canvas.ci.layout.setSpacing(6)
        self.canvas.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.readout = Readout(self.canvas)
        self.corner = Corner(self.canvas, lasting=self.free_corner)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(self.canvas)
        self._plots: list[pg.PlotItem] = []
        self._buttons: list[tuple[QToolButton, str]] = []
        self._actions = self._make_actions()
        self._redraw = QTimer(self, singleShot=True, interval=REDRAW_MS)
        self._redraw.timeout.connect(self._draw_now)
        self.canvas.scene().sigMouseClicked.connect(self._clicked)
        theme_notifier().changed.connect(self._follow_theme)

    # What a plot says of itself -------------------------------------------------------------------------------------

    def data(self) -> Data:
        """What is shown, at full precision."""
        raise NotImplementedError

    def summary(self) -> str:
        """One sentence that says what the picture says."""
        raise NotImplementedError

    def draw(self) -> None:
        """Put the data into the items."""
        raise NotImplementedError

    def paint_theme(self, theme: Theme) -> None:
        """Colour the items; called before the first drawing and whenever the theme changes."""
        raise NotImplementedError

    # Drawing --------------------------------------------------------------------------------------------------------

    def redraw_soon(self) -> None:
        """Draw with the next picture; many calls make one drawing."""
        if not self._redraw.isActive():
            self._redraw.start()

    def redraw_now(self) -> None:
        self._redraw.stop()
        self._draw_now()

    def start(self) -> None:
        """Colour everything; to be called by the subclass when its items exist."""
        self._follow_theme()

    def add_plot(self, row: int, column: int, *, axes: dict[str, pg.AxisItem] | None = None) -> pg.PlotItem:
        """A plot in the canvas's grid that wears the theme and leaves menus to this class."""
        plot = self.canvas.addPlot(row=row, col=column, axisItems=axes or {})
        plot.setMenuEnabled(False)
        plot.hideButtons()
        self._plots.append(plot)
        return plot

    def reset_zoom(self) -> None:
        """Show everything again."""
        for plot in self._plots:
            plot.enableAutoRange()

    def theme(self) -> Theme:
        return current_theme()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._column.activate()
        self.corner.place()
        self.readout.place()

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        self.corner.want(True)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.corner.want(False)

    def _draw_now(self) -> None:
        self.draw()
        said = self.summary()
        self.setAccessibleDescription(said)
        self.canvas.setAccessibleDescription(said)

    def _follow_theme(self) -> None:
        theme = self.theme()
        self.canvas.setBackground(theme.panel)
        for plot in self._plots:
            for side in ("left", "bottom", "right", "top"):
                axis = plot.getAxis(side)
                axis.setPen(pg.mkPen(theme.grid))
                axis.setTextPen(pg.mkPen(theme.muted))
                axis.setTickFont(self.font())
                axis.labelStyle = {"color": theme.muted, "font-size": f"{self.font().pointSizeF():g}pt"}
                if axis.labelText:
                    axis.setLabel(axis.labelText, **axis.labelStyle)
        for button, icon in self._buttons:
            button.setIcon(qtawesome.icon(icon, color=theme.muted))
        self.paint_theme(theme)

    # Copying and saving ---------------------------------------------------------------------------------------------

    def image(self, scale: float = 2.0) -> QImage:
        """The canvas drawn anew at `scale` times the resolution of the screen."""
        return image_of(self.canvas, scale)

    def copy_image(self) -> None:
        QGuiApplication.clipboard().setImage(self.image())
        self.readout.setText(tr("Picture copied"))

    def copy_data(self) -> None:
        QGuiApplication.clipboard().setText(tsv_of(self.data()))
        self.readout.setText(tr("Data copied"))

    def save(self, path: Path) -> None:
        """Write the picture or the data, by the path's suffix: .png, .svg or .csv. Raises OutputError."""
        makers: dict[str, Callable[[], bytes]] = {
            ".png": lambda: png_of(self.image()),
            ".svg": lambda: svg_of(self.canvas),
            ".csv": lambda: csv_of(self.data()),
        }
        make = makers.get(path.suffix.lower())
        if make is None:
            raise OutputError(tr("The ending names no format"), where=path.name, remedy=tr("Use .png, .svg or .csv."))
        write_whole(path, make())

    def save_as(self, suffix: str) -> None:
        """Ask where, then save; a failure is told in the read-out."""
        chosen, _ = QFileDialog.getSaveFileName(self, tr("Save plot"), f"{self.name}{suffix}", _FILTERS[suffix])
        if not chosen:
            return
        path = Path(chosen)
        if path.suffix.lower() != suffix:
            path = path.with_name(path.name + suffix)
        try:
            self.save(path)
        except OutputError as error:
            self.readout.setText(str(error))
        else:
            self.readout.setText(tr("Saved {name}", name=path.name))

    # Menus ----------------------------------------------------------------------------------------------------------

    def menu_at(self, position: QPointF) -> QMenu:  # noqa: ARG002 - subclasses look at the place
        """The context menu at a point of the scene: what can be done with any plot, and what subclasses add."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addActions(self._actions)
        return menu

    def add_button(self, icon: str, text: str, act: Callable[[], object]) -> QToolButton:
        """A flat icon button in the corner."""
        button = QToolButton(autoRaise=True)
        button.setIconSize(QSize(16, 16))
        button.setToolTip(text)
        button.setAccessibleName(text)
        button.clicked.connect(lambda _=False: act())
        self._buttons.append((button, icon))
        self.corner.row.addWidget(button)
        return button

    def clicked(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        """A left click on the canvas; nothing unless a subclass has a use for it."""

    def _make_actions(self) -> list[QAction]:
        entries: tuple[tuple[str, Callable[[], object]], ...] = (
            (tr("Reset zoom"), self.reset_zoom),
            (tr("Copy picture"), self.copy_image),
            (tr("Copy data"), self.copy_data),
            (tr("Save as PNG…"), lambda: self.save_as(".png")),
            (tr("Save as SVG…"), lambda: self.save_as(".svg")),
            (tr("Save data as CSV…"), lambda: self.save_as(".csv")),
        )
        actions = []
        for text, act in entries:
            action = QAction(text, self)
            action.triggered.connect(lambda _=False, act=act: act())
            actions.append(action)
        self.add_button("mdi6.magnify-expand", tr("Reset zoom"), self.reset_zoom)
        self.add_button("mdi6.content-copy", tr("Copy picture"), self.copy_image)
        save = self.add_button("mdi6.content-save-outline", tr("Save as PNG, SVG or CSV"), lambda: None)
        save_menu = QMenu(save)
        save_menu.addActions(actions[3:])
        save.setMenu(save_menu)
        save.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return actions

    def _clicked(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        if event.button() == Qt.MouseButton.RightButton:
            self.menu_at(event.scenePos()).popup(event.screenPos().toPoint())
            event.accept()
        elif event.button() == Qt.MouseButton.LeftButton:
            self.clicked(event)
