"""Files that training left: whole modules, trainers' checkpoints, optimizers and averages beside the weights."""

from __future__ import annotations

import argparse
import copy
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))


def trained(net: torch.nn.Module, kind: Callable[..., torch.optim.Optimizer]) -> dict[str, Any]:
    optimizer = kind(net.parameters(), lr=0.1)
    for _ in range(2):
        net(torch.ones(2, 6)).sum().backward()
        optimizer.step()
    return optimizer.state_dict()


def names(checkpoint: Checkpoint) -> list[str]:
    return [layer.tensor.name for layer in checkpoint.layers]


def check_values(checkpoint: Checkpoint, state: dict[str, torch.Tensor]) -> None:
    assert set(names(checkpoint)) == set(state)
    for layer in checkpoint.layers:
        assert torch.equal(load_tensor(layer.tensor), state[layer.tensor.name].detach())


OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adadelta": torch.optim.Adadelta,
}


@pytest.mark.parametrize("keys", [("state_dict", "optimizer"), ("my_net", "o"), ("w", "stuff")])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_moments_are_no_layers(tmp_path: Path, keys: tuple[str, str], optimizer: str) -> None:
    net = network()
    moments = trained(net, OPTIMIZERS[optimizer])
    torch.save({keys[0]: net.state_dict(), keys[1]: moments, "epoch": 3}, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    check_values(checkpoint, net.state_dict())
    assert set(checkpoint.left_out) == {keys[1], "epoch"}


def test_moments_by_name_are_no_layers(tmp_path: Path) -> None:
    state = network().state_dict()
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save({"fp32": state, "exp_avg": zeros, "exp_avg_sq": zeros}, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    check_values(checkpoint, state)
    assert checkpoint.left_out == ("exp_avg", "exp_avg_sq")


def test_moments_in_safetensors_are_no_layers(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    flat = {"net.weight": torch.ones(4, 4), "optimizer.0.exp_avg": torch.ones(4, 4), "optimizer.0.step": torch.ones(1)}
    save_file(flat, tmp_path / "x.safetensors")
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    assert names(checkpoint) == ["net.weight"]
    assert checkpoint.left_out == ("optimizer",)


@pytest.mark.parametrize("key", ["ema", "model_ema", "ema_model", "state_dict_ema", "averaged_model", "shadow_params"])
def test_an_averaged_twin_is_no_layer(tmp_path: Path, key: str) -> None:
    state = network().state_dict()
    twin: object = copy.deepcopy(state)
    if key == "shadow_params":
        twin = list(copy.deepcopy(state).values())
    torch.save({"anything": state, key: twin, "step": 7}, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    check_values(checkpoint, state)
    assert key in checkpoint.left_out


def test_an_average_alone_is_the_network(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({"ema": state, "step": 7}, tmp_path / "x.pt")
    check_values(open_checkpoint(tmp_path / "x.pt"), state)


@pytest.mark.parametrize("keys", [("generator", "discriminator"), ("netG", "netD"), ("model", "critic")])
def test_two_networks_stay_two(tmp_path: Path, keys: tuple[str, str]) -> None:
    one, other = network(), network()
    state = {keys[0]: one.state_dict(), keys[1]: other.state_dict(), "optim_g": trained(one, torch.optim.Adam)}
    torch.save(state, tmp_path / "x.pt")
    expected = {f"{key}.{name}" for key in keys for name in one.state_dict()}
    assert set(names(open_checkpoint(tmp_path / "x.pt"))) == expected


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_pickled_module_gives_its_tensors(tmp_path: Path, legacy: bool) -> None:
    net = network()
    torch.save(net, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    check_values(checkpoint, net.state_dict())
    assert checkpoint.layer("0").kind == "linear"
    assert any("torch.nn.modules.container.Sequential" in warning for warning in checkpoint.warnings)


def test_a_module_of_an_unknown_class_in_a_trainers_dictionary(tmp_path: Path) -> None:
    """The class is gone when the file is opened, as when somebody else's program wrote it."""
    module = types.ModuleType("gone_by_now")
    exec("import torch\nclass Own(torch.nn.Module):\n  pass", module.__dict__)
    sys.modules["gone_by_now"] = module
    own = module.Own()
    own.__class__.__module__ = "gone_by_now"
    own.body = network()
    own.register_buffer("seen", torch.ones(2))
    try:
        torch.save({"model": own, "ema": None, "opt": trained(own.body, torch.optim.Adam)}, tmp_path / "x.pt")
    finally:
        del sys.modules["gone_by_now"]
    check_values(open_checkpoint(tmp_path / "x.pt"), own.state_dict())


def test_lightning_and_numpy(tmp_path: Path) -> None:
    state = network().state_dict()
    content = {
        "state_dict": state,
        "hyper_parameters": argparse.Namespace(lr=0.1),
        "best": np.float64(0.5),
        "callbacks": {"best": {"score": torch.tensor(1.0)}},
    }
    torch.save(content, tmp_path / "x.ckpt")
    checkpoint = open_checkpoint(tmp_path / "x.ckpt")
    check_values(checkpoint, state)
    assert set(checkpoint.left_out) == {"hyper_parameters", "best", "callbacks"}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("size", [3, 700])
def test_pickled_arrays(tmp_path: Path, protocol: int, size: int) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "dense.kernel": rng.normal(size=(size, 4)).astype(np.float32),
        "turned": np.asfortranarray(rng.normal(size=(5, size)).astype(np.float64)),
        "half": rng.normal(size=size).astype(np.float16),
        "counts": np.arange(size, dtype=np.int64),
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"params": arrays, "note": "x"}, protocol=protocol))
    checkpoint = open_checkpoint(tmp_path / "x.pkl")
    assert checkpoint.kind == "pickle"
    opened = {layer.tensor.name: layer.tensor for layer in checkpoint.layers}
    assert opened.keys() >= arrays.keys() - ({"turned"} if protocol == 2 else set())
    for name, entry in opened.items():
        assert np.array_equal(load_tensor(entry).numpy(), arrays[name]), name


@pytest.mark.parametrize("protocol", [3, 5])
def test_tensors_pickled_without_torch_save(tmp_path: Path, protocol: int) -> None:
    state = network().state_dict()
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(dict(state), protocol=protocol))
    check_values(open_checkpoint(tmp_path / "x.pkl"), state)


BOMBS = {
    "a byte array of 16 GB": b"\x80\x05\x96" + (2**34).to_bytes(8, "little") + b".",
    "bytes of 2**63": b"\x80\x04\x8e" + (2**63).to_bytes(8, "little") + b".",
    "text of 2**62": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b".",
    "a frame of 2**60": b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"}.",
    "a long number": b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b".",
    "a large memo number": b"\x80\x02}r\xff\xff\xff\xff.",
    "deep nesting": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a tuple that doubles, as a key": b"\x80\x02})" + b"2\x86" * 200 + b"K\x01s.",
    "a tuple that doubles": b"\x80\x02)" + b"2\x86" * 200 + b".",
    "a dictionary of doubled tuples": b"\x80\x02()" + b"2\x86" * 200 + b"K\x01d.",
    "many steps": b"\x80\x02" + b"N0" * 2_100_000 + b"N.",
    "a list within itself": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_take_little_memory_and_time(tmp_path: Path, bomb: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(bomb)
    program = (
        "import resource, sys; from benchvise.core.checkpoint.open import open_checkpoint; "
        "from benchvise.core.errors import CheckpointError; "
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "try: open_checkpoint(sys.argv[1])\n"
        "except CheckpointError as error: print(error)\n"
        "sys.exit(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used > 300_000)"
    )
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.pth")], cwd=root).returncode == 0


def test_refusals_of_pickles_without_tensors(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": [1, 2], "b": "text"}))
    with pytest.raises(CheckpointError, match="no tensor is in it"):
        open_checkpoint(tmp_path / "x.pkl")
