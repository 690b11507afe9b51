"""What a person gets wrong: a sentence, a remedy, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from benchvise.app.cli import COMMANDS, main
from benchvise.core.errors import UserError
from tests.app.cli.cli_runs import SAMPLE, Shell, strict

RULE = "benchvise: 1\nrules:\n- {targets: [linears], scheme: {method: integer, %s}}\n"


def test_no_command_is_wrong_usage(shell: Shell) -> None:
    error = shell.error(2)
    assert "COMMAND" in error["what"]


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["inspct", "x"], "There is no command 'inspct'", "Did you mean 'inspect'?"),
        (["inspect"], "PATH", "usage: benchvise inspect"),
        (["inspect", "x", "y"], "'y' is not understood", "benchvise inspect --help"),
        (["compress", "x", "--out", "y"], "--recipe --preset is required", "usage: benchvise compress"),
        (["plan", "x", "--presett", "y", "--preset", "z"], "'--presett' is not understood", "Did you mean '--preset'?"),
        (["plan", "x", "--preset", "a", "--recipe", "b"], "not allowed with", "usage: benchvise plan"),
        (["compress", "x", "--preset", "int4-g128"], "--out", "usage: benchvise compress"),
        (["export", "x", "--out", "y"], "--to", "usage: benchvise export"),
        (["export", "x", "--out", "y", "--to", "gguff"], "'gguff'", "usage: benchvise export"),
        (["histogram", "x", "y", "--bins", "0"], "must be at least 1, not 0", "usage: benchvise histogram"),
        (["histogram", "x", "y", "--bins", "many"], "must be a whole number, not 'many'", "usage: benchvise"),
        (["evaluate", "x", "--windows", "-1"], "--windows", "usage: benchvise evaluate"),
    ],
)
def test_wrong_usage_is_told_with_how_it_goes(shell: Shell, words: list[str], what: str, remedy: str) -> None:
    error = shell.error(2, *words)
    assert what in error["what"]
    assert remedy in error["remedy"]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(shell: Shell, name: str) -> None:
    said = shell.run(name, "--help")
    assert said.code == 0
    assert COMMANDS[name].help.split()[0] in said.out
    assert "--json" in said.out
    assert "130 cancelled" in " ".join(said.out.split())


def test_the_commands_that_are_promised_are_there() -> None:
    promised = "inspect histogram plan compress sensitivity evaluate latency export screenshot presets"
    assert set(promised.split()) <= COMMANDS.keys()


@pytest.mark.parametrize("words", [["inspect"], ["plan", "--preset", "int4-g128"], ["histogram", "layer"]])
def test_a_path_that_is_not_there(shell: Shell, tmp_path: Path, words: list[str]) -> None:
    error = shell.error(3, words[0], tmp_path / "missing", *words[1:])
    assert "missing" in error["where"] + error["what"]
    assert error["remedy"]


def broken(folder: Path, content: bytes) -> Path:
    file = folder / "model.safetensors"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 1000) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 64) + b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'.ljust(64) + b"\0" * 8,
    ],
    ids=["empty", "short", "absurd header", "cut header", "no mapping", "cut data"],
)
@pytest.mark.parametrize("command", ["inspect", "plan", "compress"])
def test_a_broken_checkpoint_is_refused_and_nothing_written(
    shell: Shell, tmp_path: Path, content: bytes, command: str
) -> None:
    file = broken(tmp_path, content)
    words = {
        "inspect": [],
        "plan": ["--preset", "int4-g128"],
        "compress": ["--preset", "int4-g128", "--out", str(tmp_path / "out")],
    }[command]
    error = shell.error(3, command, file, *words)
    assert str(file) in error["where"] + error["what"]
    assert error["remedy"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "what", "remedy"),
    [
        ("bts: 4", "unknown setting 'bts'. Did you mean 'bits'?", "Correct the recipe"),
        ("bits: four", "'bits' must be a number", "Correct the recipe"),
        ("bits: 16", "above its greatest value 8", "Correct the recipe"),
        ("group_size: 48", "group size 48 does not divide the 64 inputs", "granularity channel"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "compress"])
def test_a_recipe_that_cannot_be_carried_out(
    shell: Shell, tmp_path: Path, settings: str, what: str, remedy: str, command: str
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RULE % settings)
    out = ["--out", str(tmp_path / "out")] if command == "compress" else []
    error = shell.error(3, command, SAMPLE, "--recipe", recipe, *out)
    assert what in error["what"]
    assert remedy in error["remedy"]
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_matches_nothing(shell: Shell, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(RULE.replace("linears", "linear") % "bits: 4")
    error = shell.error(3, "plan", SAMPLE, "--recipe", recipe)
    assert "treats no layer" in error["what"]
    assert "Did you mean 'linears'?" in error["remedy"]


def test_a_recipe_or_preset_that_is_not_there(shell: Shell, tmp_path: Path) -> None:
    assert "cannot be read" in shell.error(3, "plan", SAMPLE, "--recipe", tmp_path / "no.yaml")["what"]
    assert shell.error(3, "plan", SAMPLE, "--preset", "int4_g128")["remedy"] == "Did you mean 'int4-g128'?"


def test_a_layer_that_is_not_there(shell: Shell) -> None:
    error = shell.error(3, "histogram", SAMPLE, "model.layers.0.mlp.dwn_proj")
    assert "model.layers.0.mlp.down_proj" in error["remedy"]
    error = shell.error(3, "sensitivity", SAMPLE, "--layers", "model.layers.0.mlp.dwn_proj")
    assert "model.layers.0.mlp.down_proj" in error["remedy"]


@pytest.mark.parametrize("words", ["int9 channel", "int4 gx", "50 zeros", "{scheme: {method: integr}}", "no.yaml"])
def test_a_treatment_that_is_none(shell: Shell, words: str) -> None:
    error = shell.error(3, "sensitivity", SAMPLE, "--treatment", words)
    assert error["remedy"]


@pytest.mark.parametrize("command", ["evaluate", "sensitivity"])
def test_a_text_that_is_not_there(shell: Shell, tmp_path: Path, command: str) -> None:
    error = shell.error(3, command, SAMPLE, "--text", tmp_path / "no.txt")
    assert "no.txt" in error["where"] + error["what"]


def test_an_output_that_exists_is_left_alone(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    shell.error(4, "compress", SAMPLE, "--preset", "int4-g128", "--out", out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_the_input_is_never_written_over(shell: Shell) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in SAMPLE.iterdir()}
    shell.error(4, "compress", SAMPLE, "--preset", "int4-g128", "--out", SAMPLE)
    assert {path.name: path.stat().st_mtime_ns for path in SAMPLE.iterdir()} == before


def test_a_run_that_is_not_there(shell: Shell, tmp_path: Path) -> None:
    shell.error(3, "export", "no-such-run", "--to", "dense", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_cannot_be_written() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "benchvise", "presets"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=SAMPLE.parents[1],
        )
    assert done.returncode == 4
    assert "The answer cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "benchvise", "methods"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=SAMPLE.parents[1],
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode_still_gets_an_answer() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchvise", "inspect", str(SAMPLE)],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        cwd=SAMPLE.parents[1],
    )
    assert done.returncode == 0
    assert rb"172 \xd7 64" in done.stdout


def test_a_fault_of_ours_is_reported_with_its_traceback(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr("benchvise.app.cli.commands.inspect.open_checkpoint", fail)
    said = shell.run("inspect", SAMPLE)
    assert said.code == 1
    assert "Traceback" in said.err
    assert "report it" in said.err
    assert main(["inspect", str(SAMPLE), "--json"]) == 1
    captured = capsys.readouterr()
    assert "surprise" in strict(captured.out)["error"]["what"]
    assert "Traceback" in captured.err


def test_what_libraries_print_stays_out_of_the_answer(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def chatter(*_: object) -> None:
        print("loading…")
        raise UserError("It is not there")

    monkeypatch.setattr("benchvise.app.cli.commands.inspect.open_checkpoint", chatter)
    said = shell.run("inspect", SAMPLE, "--json")
    assert strict(said.out)["error"]["what"] == "It is not there"
    assert "loading…" in said.err
