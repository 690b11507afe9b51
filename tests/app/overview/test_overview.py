"""The whole network at once: cells of the right place and area, coloured by what is known, clicked to select."""

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF

from benchvise.app.overview.grid import MIN_HEIGHT, cell_values, network_grid
from benchvise.app.overview.panel import OverviewPanel
from benchvise.app.overview.quantities import QUANTITIES, parameters
from benchvise.core.protocol.results import LayerCompressed


@pytest.fixture
def grid(checkpoint):
    return network_grid(checkpoint.layers)


def test_every_layer_lies_in_one_cell_and_cells_do_not_overlap(grid, checkpoint):
    inside = [index for cell in grid.cells for index in cell.layers]
    assert sorted(inside) == list(range(len(checkpoint.layers)))
    area = sum((cell.x1 - cell.x0) * (cell.y1 - cell.y0) for cell in grid.cells)
    covered = sum(
        (cell.y1 - cell.y0) * sum(other.x1 - other.x0 for other in grid.cells if other.y0 == cell.y0)
        for cell in {other.y0: other for other in grid.cells}.values()
    )
    assert area == pytest.approx(covered)
    for place, cell in enumerate(grid.cells):
        assert grid.cell_at((cell.x0 + cell.x1) / 2, (cell.y0 + cell.y1) / 2) == place


def test_the_height_of_a_row_is_its_share_of_the_bytes(checkpoint):
    big = [replace(layer, depth=0, role=f"r{n}") for n, layer in enumerate(checkpoint.layers[2:4])]
    grid = network_grid(big)
    heights = [cell.y1 - cell.y0 for cell in grid.cells]
    sizes = [layer.nbytes for layer in big]
    assert heights[0] / heights[1] == pytest.approx(sizes[0] / sizes[1])
    assert sum(heights) == pytest.approx(1.0)
    assert all(cell.y1 - cell.y0 >= MIN_HEIGHT / 2 for cell in network_grid(checkpoint.layers).cells)


def test_a_cell_of_several_layers_tells_their_mean_or_the_worst(grid):
    count = sum(len(cell.layers) for cell in grid.cells)
    values, weights = np.full(count, np.nan), np.ones(count)
    cell = max(range(len(grid.cells)), key=lambda place: len(grid.cells[place].layers))
    several = grid.cells[cell].layers
    for place, index in enumerate(several):
        values[index] = place
    assert cell_values(grid, values, weights)[cell] == pytest.approx(np.mean(range(len(several))))
    assert cell_values(grid, values, weights, worst="greatest")[cell] == len(several) - 1
    assert np.isnan(np.delete(cell_values(grid, values, weights), cell)).all()


def test_a_click_selects_and_the_selection_is_framed(qtbot, opened, client):
    panel = OverviewPanel(opened, client)
    qtbot.addWidget(panel)
    panel.resize(800, 600)
    panel.show()
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    grid = panel._grid
    cell = grid.cells[5]
    at = panel.plot.plot.getViewBox().mapViewToScene(QPointF((cell.x0 + cell.x1) / 2, (cell.y0 + cell.y1) / 2))
    assert panel.plot._cell_under(at) == 5
    panel.plot.cell_clicked.emit(5, False)
    assert opened.selection == cell.layers
    assert panel.plot._chosen == {5}
    panel.plot.cell_clicked.emit(6, True)
    assert set(opened.selection) == {*cell.layers, *grid.cells[6].layers}


def test_what_is_not_known_is_said_and_what_a_run_found_is_shown(qtbot, opened, client, checkpoint):
    panel = OverviewPanel(opened, client)
    qtbot.addWidget(panel)
    panel.show()
    sqnr = next(number for number, quantity in enumerate(QUANTITIES) if quantity.title.startswith("SQNR"))
    panel.quantity.setCurrentIndex(sqnr)
    panel.refresh()
    assert "comes with a run" in panel.note.text()
    layer = checkpoint.layers[2]
    opened._active.layers = {layer.name: LayerCompressed(layer.name, "int4", 21.5, 0.1, 0, 2, 1, 4.0, 1.0)}
    panel.refresh()
    assert "comes with a run" not in panel.note.text()
    assert np.nanmin(panel.plot._values) == 21.5
    assert parameters(opened)[2] == layer.parameters
