"""Names beside points that do not stand on each other."""

from benchvise.app.plots.pareto_plot import apart


def test_a_label_that_would_stand_on_an_earlier_one_is_left_out():
    places = [(0.0, 0.0), (10.0, 0.0), (10.0, 5.0), (60.0, 0.1)]
    assert apart(places, [50.0] * 4, (1.0, 0.1)) == [0, 2, 3]
    assert apart(places, [50.0] * 4, (0.1, 0.1)) == [0, 1, 2, 3]
    assert apart(places, [50.0] * 4, (1.0, -1.0)) == [0, 3]
    assert apart([], [], (1.0, 1.0)) == []
