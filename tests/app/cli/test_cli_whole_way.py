"""The whole way on the command line: compress, evaluate, time, generate, export; interrupted and resumed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.app.cli.cli_runs import SAMPLE, Shell, finite, strict

ROOT = SAMPLE.parents[1]
TEXT = SAMPLE / "evaluation.txt"
FEW = ("--text", TEXT, "--windows", "2", "--window-tokens", "64")


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.safetensors")}


def test_compress_keeps_what_plan_promised(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planned = shell.json("plan", SAMPLE, "--preset", "int8-channel")
    run = shell.json("compress", SAMPLE, "--preset", "int8-channel", "--out", out)
    assert Path(run["out"]) == out
    assert (run["bytes_after"], run["bits_per_weight"]) == (planned["bytes_after"], planned["bits_per_weight"])
    assert finite(run["seconds"])
    assert run["peak_rss_bytes"] > 1_000_000
    treated = {layer["name"]: layer for layer in planned["layers"] if layer["treatment"] != "keep"}
    assert {layer["name"] for layer in run["layers"]} >= treated.keys()
    for layer in run["layers"]:
        if layer["name"] in treated:
            assert layer["bytes_after"] == treated[layer["name"]]["bytes_after"]
            assert 30 < layer["sqnr_db"] < 70
    assert (out / "config.json").exists()
    assert (out / "tokenizer.json").exists()


def test_the_whole_way(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "int4"
    run = shell.json("compress", SAMPLE, "--preset", "int4-g32-asym-clip", "--out", out)
    assert any("5-bit symmetric codes" in warning for warning in run["warnings"])
    assert any("one scale per channel, as the group size 32" in warning for warning in run["warnings"])
    listed = shell.json("runs")["runs"]
    assert [row["run"] for row in listed] == [run["run"]]

    alone = shell.json("evaluate", SAMPLE, *FEW)
    assert finite(alone["perplexity"])
    assert alone["tokens"] == 128
    assert not {"kl_mean", "kl_p99", "top1_agreement", "weight_bytes_against"} & alone.keys()
    compared = shell.json("evaluate", out, "--against", SAMPLE, *FEW)
    assert compared["perplexity_against"] == pytest.approx(alone["perplexity"], rel=1e-6)
    assert compared["weight_bytes"] < compared["weight_bytes_against"] == alone["weight_bytes"]
    assert min(compared["peak_rss_bytes"], compared["peak_rss_bytes_against"]) > 10_000_000
    assert 0 < compared["kl_mean"] < compared["kl_p99"] < 2
    assert 0.5 < compared["top1_agreement"] < 1
    same = shell.json("evaluate", SAMPLE, "--against", SAMPLE, *FEW)
    assert (same["kl_mean"], same["top1_agreement"]) == (pytest.approx(0, abs=1e-9), 1.0)
    by_run = shell.json("evaluate", f"run:{run['run']}", "--against", SAMPLE, *FEW)
    assert by_run["kl_mean"] == pytest.approx(compared["kl_mean"], rel=1e-4)

    told = shell.json("generate", out, "--against", SAMPLE, "--prompt", "Once upon a time", "--tokens", "8")
    assert len(told["original"]["pieces"]) == len(told["compressed"]["pieces"]) == 8

    dense = tmp_path / "dense"
    exported = shell.json("export", run["run"], "--to", "dense", "--out", dense)
    assert (exported["target"], Path(exported["out"])) == ("dense", dense)
    again = shell.json("evaluate", dense, "--against", SAMPLE, *FEW)
    assert again["kl_mean"] == pytest.approx(compared["kl_mean"], rel=1e-4)
    packed = tmp_path / "packed"
    shell.json("export", out, "--to", "compressed-tensors", "--out", packed)
    assert digests(packed) == digests(out)
    shell.error(4, "export", run["run"], "--to", "dense", "--out", dense)


def test_latency_is_measured_against_the_original(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shell.json("compress", SAMPLE, "--preset", "int8-channel", "--out", out)
    quick = ("--tokens", "4", "--repetitions", "2", "--context", "4")
    timed = shell.json("latency", out, "--against", SAMPLE, *quick)
    assert 0 < timed["least_ms"] <= timed["median_ms"] <= timed["greatest_ms"]
    assert timed["against"]["median_ms"] > 0
    assert timed["speed_up"] > 0
    assert timed["weight_bytes"] < timed["against"]["weight_bytes"]
    assert {"peak_bytes"} <= timed.keys() & timed["against"].keys()
    alone = shell.json("latency", SAMPLE, *quick)
    assert "against" not in alone
    said = shell.run("latency", out, "--against", SAMPLE, *quick)
    assert said.code == 0
    assert "times as fast as the original" in said.out


def test_sensitivity_ranks_layers(shell: Shell) -> None:
    words = ("sensitivity", SAMPLE, "--text", TEXT, "--windows", "1", "--window-tokens", "32")
    measured = shell.json(*words, "--layers", "*.0.self_attn.[qv]_proj", "--treatment", "int8 channel", "int2 channel")
    cells = {(cell["name"], cell["treatment"]): cell["kl"] for cell in measured["layers"]}
    names = [f"model.layers.0.self_attn.{part}_proj" for part in "qv"]
    assert cells.keys() == {(name, tag) for name in names for tag in ("int8 channel", "int2 channel")}
    for name in names:
        assert 0 <= cells[name, "int8 channel"] < cells[name, "int2 channel"]
    by_default = shell.json(*words, "--layers", "*.0.mlp.*")
    assert len(by_default["layers"]) == 3
    assert any("does not divide 64 inputs" in warning for warning in by_default["warnings"])


def test_two_runs_are_the_same_bytes(shell: Shell, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shell.json(
            "compress",
            SAMPLE,
            "--preset",
            "int4-g128",
            "--out",
            tmp_path / name,
            "--workspace",
            tmp_path / f"ws-{name}",
        )
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_people_see_a_table_and_a_log(shell: Shell, tmp_path: Path) -> None:
    said = shell.run("compress", SAMPLE, "--preset", "magnitude-50", "--out", tmp_path / "out", "-v")
    assert said.code == 0
    assert "SQNR [dB]" in said.out
    assert f"written to {tmp_path / 'out'}" in said.out
    assert "model.layers.0.mlp.up_proj: 50 % zeros" in said.err
    assert "\r" not in said.err


def test_ctrl_c_keeps_finished_layers_and_resume_goes_on(shell: Shell, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    random = np.random.default_rng(0)
    save_file({f"layers.{i}.up.weight": random.standard_normal((256, 2048), np.float32) for i in range(16)}, model)
    words = ["compress", str(model), "--preset", "int4-g32-asym-clip", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchvise", *words, "-v"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"BENCHVISE_WORKSPACE": str(tmp_path / "workspace")},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("layers.2.up: int4"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "Cancelled" in err
    assert "--resume" in err
    assert not (tmp_path / "out").exists()

    resumed = shell.run(*words, "--resume", "-v")
    assert resumed.code == 0, resumed
    assert 3 <= resumed.err.count("finished before") < 16
    words[-1] = str(tmp_path / "undisturbed")
    shell.json(*words, "--workspace", tmp_path / "another")
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")
    assert digests(tmp_path / "out")


def test_a_real_process_answers_json_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchvise", "compress", str(SAMPLE), "--preset", "int4-g128", "--out", "out", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"BENCHVISE_WORKSPACE": str(tmp_path / "workspace"), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    run = strict(done.stdout)
    assert done.stderr == ""
    assert (tmp_path / "out").is_dir()
    assert Path(run["out"]).resolve() == tmp_path / "out"
