"""A label that keeps its height while its text changes."""

from benchvise.app.widgets.labels import steady, wrapped


def test_steady_label_stays_as_high_as_it_was(qtbot):
    label, plain = steady(), wrapped()
    for made in (label, plain):
        qtbot.addWidget(made)
        made.setText("many words " * 20)
    high = plain.heightForWidth(200)
    assert label.heightForWidth(200) == high
    for made in (label, plain):
        made.setText("few")
    assert plain.heightForWidth(200) < high
    assert label.heightForWidth(200) == high
    assert label.heightForWidth(4000) == plain.heightForWidth(4000)
    label.forget()
    assert label.heightForWidth(200) == plain.heightForWidth(200)
