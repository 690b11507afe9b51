"""A form generated from a settings class: one row per setting that means something now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFormLayout, QLabel, QSizePolicy, QWidget

from app.widgets.field_editors import FieldEditor, editor_for
from app.widgets.labels import LABEL_WIDTH
from core.settings import Value, applicable, settings_of


class SettingsForm(QWidget):
    """Shows one or several instances of one settings class; where they differ it says "(mixed)".

    edited: (field name, new value) when the person changed a field.
    """

    edited = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind: type[object] | None = None
        self.editors: dict[str, FieldEditor] = {}
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setHorizontalSpacing(12)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignVCenter)
        self._form.setVerticalSpacing(8)
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def show_instances(self, instances: Sequence[object], capabilities: Iterable[str] = ()) -> None:
        """Show settings; all instances are of one class. An empty sequence clears the form."""
        kind = type(instances[0]) if instances else None
        if kind is not self._kind:
            self._build(kind)
        have = set(capabilities)
        shown = {declared.name for instance in instances for declared in applicable(instance, have)}
        for name, editor in self.editors.items():
            values = {getattr(instance, name) for instance in instances}
            editor.show_value(_one_or_mixed(values))
            self._form.setRowVisible(editor, name in shown)

    @property
    def shown_fields(self) -> tuple[str, ...]:
        """Names of the fields that are visible now."""
        return tuple(name for name, editor in self.editors.items() if self._form.isRowVisible(editor))

    def _build(self, kind: type[object] | None) -> None:
        while self._form.rowCount():
            self._form.removeRow(0)
        self._kind = kind
        self.editors = {}
        for declared in settings_of(kind) if kind is not None else ():
            editor = editor_for(declared)
            editor.edited.connect(lambda value, name=declared.name: self.edited.emit(name, value))
            said = declared.unit in ("", "bit", declared.title.lower())
            unit = "" if said else f" ({declared.unit})"
            label = QLabel(f"{declared.title}{unit}", wordWrap=True)
            label.setToolTip(declared.help)
            label.setBuddy(editor)
            label.setMinimumWidth(LABEL_WIDTH)
            self.editors[declared.name] = editor
            self._form.addRow(label, editor)


def _one_or_mixed(values: set[Value]) -> Value | None:
    return next(iter(values)) if len(values) == 1 else None
