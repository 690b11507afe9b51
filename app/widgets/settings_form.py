"""A form generated from a settings class: one row per setting that means something now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFormLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from benchvise.app.widgets.field_editors import FieldEditor, editor_for
from benchvise.app.widgets.labels import LABEL_WIDTH
from benchvise.core.language import tr
from benchvise.core.settings import Value, applicable, settings_of


class SettingsForm(QWidget):
    """Shows one or several instances of one settings class; where they differ it says "(mixed)".

    edited: (field name, new value) when the person changed a field.
    """

    edited = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pages: dict[type[object], _Page] = {}
        self._page: _Page | None = None
        self._pile = QVBoxLayout(self)
        self._pile.setContentsMargins(0, 0, 0, 0)
        # No `Maximum`, which would hold the form to the height that it has with no row wrapped.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)

    def show_instances(self, instances: Sequence[object], capabilities: Iterable[str] = ()) -> None:
        """Show settings; all instances are of one class. An empty sequence clears the form."""
        page = self._page_of(type(instances[0])) if instances else None
        if page is not self._page:
            if self._page is not None:
                self._page.hide()
            self._page = page
        if page is None:
            return
        have = set(capabilities)
        shown = {declared.name for instance in instances for declared in applicable(instance, have)}
        for name, editor in page.editors.items():
            values = {getattr(instance, name) for instance in instances}
            editor.show_value(_one_or_mixed(values))
            page.form.setRowVisible(editor, name in shown)
        page.show()

    @property
    def editors(self) -> dict[str, FieldEditor]:
        """Of the class that is shown, by the name of the field."""
        return self._page.editors if self._page is not None else {}

    @property
    def shown_fields(self) -> tuple[str, ...]:
        """Names of the fields that are visible now."""
        page = self._page
        return tuple(name for name, editor in self.editors.items() if page and page.form.isRowVisible(editor))

    def _page_of(self, kind: type[object]) -> _Page:
        page = self._pages.get(kind)
        if page is None:
            page = self._pages[kind] = _Page(kind)
            page.edited.connect(self.edited)
            self._pile.addWidget(page)
        return page


class _Page(QWidget):
    """The rows of one settings class; kept, since a selection goes to and fro between a few classes."""

    edited = Signal(str, object)

    def __init__(self, kind: type[object]) -> None:
        super().__init__()
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setHorizontalSpacing(8)
        self.form.setLabelAlignment(Qt.AlignmentFlag.AlignVCenter)
        self.form.setVerticalSpacing(8)
        self.form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.editors: dict[str, FieldEditor] = {}
        for declared in settings_of(kind):
            editor = editor_for(declared)
            editor.edited.connect(lambda value, name=declared.name: self.edited.emit(name, value))
            said = declared.unit in ("", "bit", declared.title.lower())
            unit = "" if said else f" ({tr(declared.unit)})"
            label = QLabel(f"{tr(declared.title)}{unit}", wordWrap=True)
            label.setToolTip(tr(declared.help))
            label.setBuddy(editor)
            label.setMinimumWidth(LABEL_WIDTH)
            self.editors[declared.name] = editor
            self.form.addRow(label, editor)


def _one_or_mixed(values: set[Value]) -> Value | None:
    return next(iter(values)) if len(values) == 1 else None
