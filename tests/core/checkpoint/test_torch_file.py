"""Torch files: torch.load is the oracle for what is in them; none of them may run anything."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.read import read_rows, rows
from benchvise.core.checkpoint.tensors import load_rows, load_tensor
from benchvise.core.errors import CheckpointError

BASE = torch.arange(48, dtype=torch.float32).reshape(6, 8)
TENSORS: dict[str, torch.Tensor] = {
    "plain.weight": BASE + 1,
    "transposed": BASE.t(),
    "strided": BASE[1::2, 2::3],
    "expanded": torch.arange(3.0).expand(4, 3),
    "permuted": torch.arange(360).reshape(3, 4, 5, 6).permute(0, 3, 1, 2),
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 4),
    "parameter": torch.nn.Parameter(torch.full((2, 2), 7.0)),
    "bool": torch.tensor([True, False, True]),
    "uint16": torch.arange(3).to(torch.uint16),
    "complex": torch.tensor([1 + 2j]),
} | {
    str(dtype): (BASE / 7).to(dtype)
    for dtype in (
        torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    )
}  # fmt: skip

TOO_NEW_FOR_LEGACY = ("uint16", "torch.float8_e4m3fn", "torch.float8_e5m2")
"""torch writes these into the old format, but does not read them from it."""

WRAPPINGS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "bare": dict,
    "ordered": collections.OrderedDict,
    "trainer": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: {"m": torch.ones(2)}}}},
    "nested": lambda state: {"model": {"module": state}},
}


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    bits = [tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*bits)


def save(content: object, path: Path, *, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_reads_what_torch_wrote(tmp_path: Path, wrapping: str, legacy: bool) -> None:
    tensors = {name: TENSORS[name] for name in TENSORS if not legacy or name not in TOO_NEW_FOR_LEGACY}
    path = save(WRAPPINGS[wrapping](tensors), tmp_path / "x.pt", legacy=legacy)
    checkpoint = open_checkpoint(path)
    assert checkpoint.format == "torch"
    assert {layer.tensor.name for layer in checkpoint.layers} == set(tensors)
    loaded: Any = torch.load(path, weights_only=True)
    for key in ("state_dict", "model", "module"):
        loaded = loaded.get(key, loaded)
    for layer in checkpoint.layers:
        assert same(load_tensor(layer.tensor), loaded[layer.tensor.name]), layer.tensor.name
        raw = read_rows(layer.tensor, 0, rows(layer.tensor)).tobytes()
        assert raw == loaded[layer.tensor.name].detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    left_out = any("epoch" in warning and "optimizer" in warning for warning in checkpoint.warnings)
    assert left_out == (wrapping == "trainer")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_rows_of_strided_tensors(tmp_path: Path, legacy: bool) -> None:
    checkpoint = open_checkpoint(save(TENSORS, tmp_path / "x.pt", legacy=legacy))
    for name in ("transposed", "strided", "expanded", "permuted"):
        entry = checkpoint.layer(name).tensor
        assert entry.strides == tuple(TENSORS[name].stride())
        assert same(load_rows(entry, 1, 3), TENSORS[name][1:3])


def test_a_conv_net_is_shown_in_its_own_order(tmp_path: Path) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    checkpoint = open_checkpoint(save(net.state_dict(), tmp_path / "net.pth"))
    assert [(layer.name, layer.kind, layer.role) for layer in checkpoint.layers] == [
        ("0", "conv", "conv"), ("0.bias", "bias", "bias"), ("1", "norm", "norm"), ("1.bias", "bias", "bias"),
        ("1.running_mean", "tensor", "other"), ("1.running_var", "tensor", "other"),
        ("1.num_batches_tracked", "tensor", "other"), ("3", "linear", "linear"), ("3.bias", "bias", "bias"),
    ]  # fmt: skip
    assert checkpoint.warnings == ()


def test_shared_tensors_are_one_layer(tmp_path: Path) -> None:
    weight = torch.randn(8, 4)
    state = {"lm_head.weight": weight, "h.0.w": torch.ones(4, 4), "wte.weight": weight, "rows": weight[:2]}
    checkpoint = open_checkpoint(save(state, tmp_path / "x.bin"))
    assert checkpoint.layer("wte").tied == ("lm_head",)
    assert checkpoint.tensors == 3
    assert same(load_tensor(checkpoint.layer("rows").tensor), weight[:2])


def test_lists_and_single_tensors(tmp_path: Path) -> None:
    assert open_checkpoint(save(torch.ones(2, 2), tmp_path / "one.pt")).layers[0].name == "tensor"
    names = [
        layer.name for layer in open_checkpoint(save([torch.ones(2), {"a": torch.ones(3)}], tmp_path / "l.pt")).layers
    ]
    assert names == ["0", "1.a"]


def test_other_values_are_warned_of(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save({"w": torch.ones(2, 2), "epoch": 3, "note": "text"}, tmp_path / "x.pt"))
    assert "2 values in x.pt are not tensors: epoch, note" in checkpoint.warnings[0]


def test_containers_within_themselves_end(tmp_path: Path) -> None:
    loop: dict[str, object] = {"w": torch.ones(2)}
    loop["again"] = loop
    assert open_checkpoint(save(loop, tmp_path / "x.pt")).tensors == 1
    wide: list[object] = [torch.ones(1)]
    for _ in range(200):
        wide = [wide, wide]
    assert open_checkpoint(save({"w": torch.ones(2), "deep": wide}, tmp_path / "x.pt")).tensors == 1


class Runs:
    """Pickles as a call of os.system."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle", "protocol 0"])
def test_a_pickle_is_never_run(tmp_path: Path, form: str) -> None:
    marker, path = tmp_path / "was-run", tmp_path / "x.pt"
    evil = {"note": "no tensor", "evil": Runs(marker)}
    if form in ("zip", "legacy"):
        save(evil, path, legacy=form == "legacy")
    else:
        path.write_bytes(pickle.dumps(Runs(marker), protocol=0 if form == "protocol 0" else 4))
    with pytest.raises(CheckpointError, match=r"wants to run code: (posix|nt)\.system; it was not opened") as caught:
        open_checkpoint(path)
    assert caught.value.remedy
    assert not marker.exists()
    if form != "legacy":
        pickle_text = path.read_bytes() if "p" in form[:1] else zipfile.ZipFile(path).read("x/data.pkl")
        assert b"system" in pickle_text


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_tensors_beside_code_are_opened_and_the_code_is_not_run(tmp_path: Path, legacy: bool) -> None:
    marker = tmp_path / "was-run"
    checkpoint = open_checkpoint(save({"w": BASE + 1, "evil": Runs(marker)}, tmp_path / "x.pt", legacy=legacy))
    assert [layer.name for layer in checkpoint.layers] == ["w"]
    assert same(load_tensor(checkpoint.layers[0].tensor), BASE + 1)
    assert checkpoint.left_out == ("evil.0",)
    assert any("not run: posix.system" in warning for warning in checkpoint.warnings)
    assert not marker.exists()


def as_zip(path: Path, description: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", description)
        for name, content in members.items():
            archive.writestr(f"x/{name}", content)
    return path


@pytest.mark.parametrize(
    "name",
    ["builtins\neval", "builtins\ngetattr", "builtins\n__import__", "torch\nload", "torch._utils\n_rebuild_tensor.x",
     "torch.hub\nload", "operator\nattrgetter", "functools\npartial", "collections\nOrderedDict.fromkeys"],
)  # fmt: skip
def test_only_what_torch_writes_for_tensors_may_be_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="wants to run code"):
        open_checkpoint(as_zip(tmp_path / "x.pt", f"c{name}\n.".encode()))


BUILD_ATTEMPTS = {
    "attributes of a stand-in": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x08functionU\x01xsb.",
    "slots of a stand-in": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}U\x08functionU\x01xs\x86b.",
    "attributes of a class": b"\x80\x02ccollections\nOrderedDict\nN}U\x03getU\x01xs\x86b.",
    "an instance of a stand-in": b"\x80\x02ctorch\nfloat32\n)\x81.",
    "nothing on the stack": b"\x80\x02.",
    "a call without arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "an unknown persistent id": b"\x80\x02K\x01Q.",
}


@pytest.mark.parametrize("description", BUILD_ATTEMPTS.values(), ids=BUILD_ATTEMPTS.keys())
def test_stand_ins_cannot_be_altered(tmp_path: Path, description: bytes) -> None:
    try:
        assert open_checkpoint(as_zip(tmp_path / "x.pt", description)).tensors == 0
    except CheckpointError as error:
        if "cannot be understood" not in error.what:
            raise
    assert open_checkpoint(save(TENSORS, tmp_path / "y.pt")).tensors == len(TENSORS)


def test_a_large_memo_number_takes_no_memory(tmp_path: Path) -> None:
    assert open_checkpoint(as_zip(tmp_path / "x.pt", b"\x80\x02}r\xff\xff\xff\xff.")).tensors == 0


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_STORED) -> Path:
    """Copies a torch archive member by member; `change` gives the new content, or None to leave one out."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            changed = change(name, content)
            if changed is not None:
                archive.writestr(name, changed)
    return path


ARCHIVE_FAULTS: dict[str, tuple[Callable[[str, bytes], bytes | None], str]] = {
    "big-endian": (lambda name, content: b"big" if name.endswith("byteorder") else content, "big-endian"),
    "lost storage": (
        lambda name, content: None if name.endswith("data/0") else content,
        "lacks the data of storage '0'",
    ),
    "short storage": (lambda name, content: content[:8] if name.endswith("data/0") else content, "needs 192 bytes"),
    "lost description": (lambda name, content: None if name.endswith("data.pkl") else content, "not written by torch"),
    "cut description": (
        lambda name, content: content[:-2] if name.endswith("data.pkl") else content,
        "cannot be understood",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), ARCHIVE_FAULTS.values(), ids=ARCHIVE_FAULTS.keys())
def test_damaged_archives(tmp_path: Path, change: Callable[[str, bytes], bytes | None], sentence: str) -> None:
    path = rewrite(save({"w": BASE + 0}, tmp_path / "x.pt"), change)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        open_checkpoint(path)
    assert caught.value.remedy


def test_compressed_archives(tmp_path: Path) -> None:
    path = rewrite(save({"w": BASE + 0}, tmp_path / "x.pt"), lambda _, content: content, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is compressed within the archive"):
        open_checkpoint(path)


def test_large_views_far_into_a_storage(tmp_path: Path) -> None:
    half = torch.zeros(2, 4000, 4000, dtype=torch.uint8)[1]
    half[-1, -1] = 7
    entry = open_checkpoint(save({"half": half}, tmp_path / "x.pt")).layers[0].tensor
    assert load_rows(entry, 3999, 4000)[0, -1] == 7


def test_shapes_beyond_memory(tmp_path: Path) -> None:
    wide = torch.zeros(1).expand(2**30, 2**30)
    with pytest.raises(CheckpointError, match="larger than any memory"):
        open_checkpoint(save({"w": wide}, tmp_path / "x.pt"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_gives_its_weights(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.BatchNorm1d(2))
    torch.jit.save(torch.jit.script(net), tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    assert checkpoint.kind == "torchscript"
    assert {layer.tensor.name for layer in checkpoint.layers} == set(net.state_dict())
    for layer in checkpoint.layers:
        assert same(load_tensor(layer.tensor), net.state_dict()[layer.tensor.name])


def test_special_tensors_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="sparse, quantised or otherwise special"):
        open_checkpoint(save({"w": torch.eye(3).to_sparse()}, tmp_path / "x.pt"))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_every_truncation_is_noticed(tmp_path: Path, legacy: bool) -> None:
    path = save({"a": torch.ones(5), "b": torch.ones(3, 2)}, tmp_path / "x.pt", legacy=legacy)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            open_checkpoint(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(legacy=st.booleans(), position=st.integers(0, 2**16), value=st.integers(0, 255))
def test_any_changed_byte_gives_a_checkpoint_or_a_sentence(
    tmp_path: Path, legacy: bool, position: int, value: int
) -> None:
    path = tmp_path / f"{legacy}.pt"
    if not path.exists():
        save({"a": torch.ones(5), "b": torch.ones(3, 2)}, path, legacy=legacy)
        path.with_suffix(".whole").write_bytes(path.read_bytes())
    content = bytearray(path.with_suffix(".whole").read_bytes())
    content[position % len(content)] = value
    path.write_bytes(content)
    try:
        layers = open_checkpoint(path).layers
    except CheckpointError:
        return
    for layer in layers:
        assert layer.tensor.offset + layer.tensor.nbytes <= len(content)


def legacy_stream(*parts: object, tail: bytes = b"") -> bytes:
    stream = io.BytesIO()
    for part in parts:
        pickle.dump(part, stream, protocol=2)
    return stream.getvalue() + tail


MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
LEGACY_FAULTS = {
    "another pickle": (legacy_stream({"a": 1}), "not written by torch.save"),
    "another protocol": (legacy_stream(MAGIC, 1002), "not written by torch.save"),
    "big-endian": (legacy_stream(MAGIC, 1001, {**SYSTEM, "little_endian": False}, {}, []), "big-endian"),
    "no list of storages": (legacy_stream(MAGIC, 1001, SYSTEM, {}, 5), "does not list its storages"),
    "a storage that nobody uses": (
        legacy_stream(MAGIC, 1001, SYSTEM, {}, ["7"], tail=struct.pack("<q", 1)),
        "ends before the data of storage '7'",
    ),
    "no pickle": (b"\0\1\2\3 and so on", "no kind that is known"),
    "empty": (b"", "file is empty"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
}


@pytest.mark.parametrize(("content", "sentence"), LEGACY_FAULTS.values(), ids=LEGACY_FAULTS.keys())
def test_streams_that_are_wrong(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        open_checkpoint(tmp_path / "x.pt")


def test_safetensors_under_another_name(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": BASE + 0}, tmp_path / "x.bin")
    assert open_checkpoint(tmp_path / "x.bin").format == "safetensors"
