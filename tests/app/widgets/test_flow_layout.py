"""Widgets side by side that continue in the next line."""

import pytest
from PySide6.QtCore import QRect, QSize
from PySide6.QtWidgets import QSizePolicy, QWidget

from benchvise.app.widgets.flow import FlowLayout


class Block(QWidget):
    def __init__(self, width: int, height: int, *, grows: bool = False) -> None:
        super().__init__()
        self._size = QSize(width, height)
        policy = QSizePolicy.Policy.Expanding if grows else QSizePolicy.Policy.Fixed
        self.setSizePolicy(policy, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return self._size

    def minimumSizeHint(self) -> QSize:
        return QSize(1, 1)


@pytest.fixture
def made(qtbot):
    host = QWidget()
    qtbot.addWidget(host)
    blocks = [Block(100, 20), Block(50, 30, grows=True), Block(60, 20), Block(80, 40)]
    flow = FlowLayout(host, spacing=10)
    for block in blocks:
        flow.addWidget(block)
    yield flow, blocks
    host.close()


def places(flow, blocks, width):
    flow.setGeometry(QRect(0, 0, width, 400))
    return [block.geometry().getRect() for block in blocks]


def test_lines_break_where_there_is_no_more_room_and_the_growing_take_the_rest(made):
    flow, blocks = made
    assert places(flow, blocks, 330) == [(0, 10, 100, 20), (110, 5, 60, 30), (180, 10, 60, 20), (250, 0, 80, 40)]
    assert flow.heightForWidth(330) == 40
    assert places(flow, blocks, 200) == [(0, 5, 100, 20), (110, 0, 90, 30), (0, 50, 60, 20), (70, 40, 80, 40)]
    assert flow.heightForWidth(200) == 80
    assert places(flow, blocks, 70)[0] == (0, 0, 70, 20)


def test_what_is_hidden_takes_no_room(made):
    flow, blocks = made
    blocks[0].hide()
    blocks[1].hide()
    flow.invalidate()
    assert places(flow, blocks, 200)[2:] == [(0, 10, 60, 20), (70, 0, 80, 40)]
    assert flow.heightForWidth(200) == 40
