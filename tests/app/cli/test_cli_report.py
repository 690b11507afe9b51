"""`benchvise report` and `benchvise reproduce` in the shell."""

from tests.app.cli.cli_runs import SAMPLE


def test_a_report_is_printed_written_and_done_again(shell, tmp_path):
    run = shell.json("compress", SAMPLE, "--preset", "int8-channel", "--out", tmp_path / "small")["run"]
    facts = shell.json("report", run, "--out", tmp_path / "report.html")
    assert (facts["run"], len(facts["layers"])) == (run, 35)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    card = shell.run("report", run, "--markdown")
    assert card.out.startswith("## sample, compressed with int8-channel")
    found = shell.json("reproduce", tmp_path / "report.html")
    assert (len(found["same"]), found["different"]) == (35, [])
    whole = (tmp_path / "report.html").read_text().replace(facts["layers"][0]["sha256"], "0" * 64)
    (tmp_path / "other.html").write_text(whole)
    again = shell.run("reproduce", tmp_path / "other.html")
    assert again.code == 5
    assert "different: model.layers.0" in again.out
