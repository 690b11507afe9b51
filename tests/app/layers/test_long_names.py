"""A long name goes on into the empty cell beside it."""

from benchvise.app.layers import columns
from tests.app.screen import on_screen
from tests.app.shell.test_main_window import filled, window  # noqa: F401 - fixtures


def ink(picture, cell):
    """Pixels inside a cell that are not its background."""
    background = picture.pixelColor(cell.right() - 2, cell.top() + 2)
    rows, columns_ = range(cell.top() + 3, cell.bottom() - 3), range(cell.left(), cell.right())
    return sum(picture.pixelColor(x, y) != background for x in columns_ for y in rows)


def test_a_long_name_uses_an_empty_cell(filled, qtbot):  # noqa: F811
    view, model = filled.layers.view, filled.layers.model
    view.setColumnHidden(columns.TREATMENT, False)
    view.setColumnWidth(columns.NAME, 60)
    qtbot.wait(50)
    index = model.index_of_layer(2)
    empty = view.visualRect(index.sibling(index.row(), columns.TREATMENT))
    view.scrollTo(index)
    view.clearSelection()
    filled.repaint()
    assert not index.sibling(index.row(), columns.TREATMENT).data()
    assert ink(on_screen(view.viewport()), empty) > 10, "the name is cut although there is room"
