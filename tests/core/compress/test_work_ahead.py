"""Items made ahead on a thread come in order, with their errors, and stop with their consumer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from benchvise.core.compress.ahead import ahead


def test_order_and_end() -> None:
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter(()))) == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    stream = ahead(items())
    assert next(stream) == 1
    with pytest.raises(KeyError, match="two"):
        next(stream)


def test_work_overlaps_and_at_most_depth_items_wait() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    for number in ahead(items(), depth=2):
        time.sleep(0.02)
        assert len(made) <= number + 5
        if number == 3:
            assert len(made) > number + 1


def test_a_consumer_that_stops_early_leaves_no_thread() -> None:
    before = threading.active_count()
    stream = ahead(iter(range(1000)))
    assert next(stream) == 0
    stream.close()
    assert threading.active_count() == before
