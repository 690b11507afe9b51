"""Headers of safetensors files: the library as the oracle for sound ones, a sentence for each fault."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError
from tests.core.checkpoint.checkpoint_samples import described, two_tensors, write_safetensors

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.float8_e8m0fnu, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.int64, torch.int32, torch.int16,
    torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool, torch.complex64,
]  # fmt: skip


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.numel() == 0 or torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 7), (2, 3, 5), (1,)], ids=str)
def test_reads_what_the_library_wrote(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    raw = torch.arange(count * dtype.itemsize, dtype=torch.uint8)
    raw = raw % 2 if dtype == torch.bool else raw
    tensor = raw.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)
    save_file({"first": torch.ones(3), "it.weight": tensor}, tmp_path / "x.safetensors")
    layer = open_checkpoint(tmp_path / "x.safetensors").layer("it.weight")
    assert layer.dtype == str(dtype).removeprefix("torch.")
    assert same_bits(load_tensor(layer.tensor), tensor)


def test_4_bit_floats_are_pairs(tmp_path: Path) -> None:
    packed = torch.arange(12, dtype=torch.uint8).reshape(3, 4).view(torch.float4_e2m1fn_x2)
    save_file({"w": packed}, tmp_path / "x.safetensors")
    layer = open_checkpoint(tmp_path / "x.safetensors").layer("w")
    assert (layer.shape, layer.dtype, layer.nbytes) == ((3, 4), "float4_e2m1fn_x2", 12)
    assert same_bits(load_tensor(layer.tensor), packed)


A = described("F32", [2, 2], 0, 16)
FAULTS = {
    "unknown dtype": ({"a": described("F31", [4], 0, 16)}, "unknown dtype 'F31'"),
    "dtype of the wrong type": ({"a": {**A, "dtype": 7}}, "unknown dtype 7"),
    "wrong byte count": ({"a": described("F32", [2, 3], 0, 16)}, "16 bytes of data, but float32 [2, 3] needs 24"),
    "negative size": ({"a": described("F32", [-2, -2], 0, 16)}, "not a list of sizes"),
    "size that is no number": ({"a": {**A, "shape": [2, 2.0]}}, "not a list of sizes"),
    "size that is a bool": ({"a": {**A, "shape": [True, 4]}}, "not a list of sizes"),
    "shape missing": ({"a": {"dtype": "F32", "data_offsets": [0, 16]}}, "not a list of sizes"),
    "too many dimensions": ({"a": described("F32", [1] * 65, 0, 4)}, "not a list of sizes"),
    "shape beyond memory": ({"a": described("F32", [0, 2**62, 2**62], 0, 0)}, "larger than any memory"),
    "offsets backwards": ({"a": {**A, "data_offsets": [16, 0]}}, "not a start and an end"),
    "one offset": ({"a": {**A, "data_offsets": [16]}}, "not a start and an end"),
    "negative offset": ({"a": {**A, "data_offsets": [-16, 0]}}, "not a start and an end"),
    "out of range": ({"a": described("F32", [2, 2], 2**40, 2**40 + 16)}, "lies beyond its end"),
    "overlap": ({"a": A, "b": described("F32", [2], 12, 20)}, "'a' and 'b' overlap"),
    "same data twice": ({"a": A, "b": A}, "'a' and 'b' overlap"),
    "one within another": (
        {"b": described("F32", [1], 4, 8), "c": described("F32", [1], 8, 12), "a": A},
        "'a' and 'c'",
    ),
    "no description": ({"a": [1, 2]}, "'a' is not described by an object"),
    "odd number of 4-bit values": ({"a": described("F4", [2, 3], 0, 3)}, "come in pairs"),
}


@pytest.mark.parametrize(("header", "sentence"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_of_one_tensor(tmp_path: Path, header: object, sentence: str) -> None:
    path = write_safetensors(tmp_path / "x.safetensors", header, bytes(20))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert sentence in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.remedy
    with pytest.raises((SafetensorError, OverflowError)):
        safe_open(path, "np")


NO_HEADERS = {
    "empty file": (b"", "has only 0 bytes"),
    "seven bytes": (bytes(7), "has only 7 bytes"),
    "header longer than the file": ((100).to_bytes(8, "little") + b"{}", "100 bytes long, but the file has only 10"),
    "absurd length": ((2**63).to_bytes(8, "little") + b"{}", "9,223,372,036,854,775,808 bytes long"),
    "not JSON": ((4).to_bytes(8, "little") + b"{oh}", "not valid JSON"),
    "empty header": (bytes(8), "not valid JSON"),
    "not UTF-8": ((4).to_bytes(8, "little") + b'{"\xff"', "not valid JSON"),
    "a list": ((2).to_bytes(8, "little") + b"[]", "not a JSON object but a list"),
    "nested beyond reason": ((100_000).to_bytes(8, "little") + b"[" * 100_000, "not valid JSON"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
}


@pytest.mark.parametrize(("content", "sentence"), NO_HEADERS.values(), ids=NO_HEADERS.keys())
def test_files_without_a_header(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert sentence in caught.value.what
    assert caught.value.remedy


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    whole = two_tensors(tmp_path / "x.safetensors").read_bytes()
    for size in range(len(whole)):
        (tmp_path / "x.safetensors").write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="again"):
            open_checkpoint(tmp_path / "x.safetensors")


def test_repeated_names(tmp_path: Path) -> None:
    one = json.dumps(A)
    path = write_safetensors(tmp_path / "x.safetensors", f'{{"a": {one}, "a": {one}}}'.encode(), bytes(16))
    with pytest.raises(CheckpointError, match="'a' stands 2 times"):
        open_checkpoint(path)


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    header = {f"t{index}": described("F31", [1], 0, 4) for index in range(8)}
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(write_safetensors(tmp_path / "x.safetensors", header, bytes(4)))
    assert "'t0'" in caught.value.what
    assert "'t4'" in caught.value.what
    assert "'t5'" not in caught.value.what
    assert caught.value.what.endswith("and 3 more")


def test_holes_and_tails_are_warned_of(tmp_path: Path) -> None:
    header = {"a": described("F32", [1], 0, 4), "b": described("F32", [1], 8, 12)}
    checkpoint = open_checkpoint(write_safetensors(tmp_path / "x.safetensors", header, bytes(20)))
    assert checkpoint.tensors == 2
    assert any("12 bytes" in warning for warning in checkpoint.warnings)


def test_a_checkpoint_of_nothing(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_safetensors(tmp_path / "x.safetensors", {"__metadata__": {"format": "pt"}}))
    assert checkpoint.layers == ()
    assert any("no tensor" in warning for warning in checkpoint.warnings)


UNCASED = st.characters(codec="utf-8", exclude_categories=("Lu", "Ll"))
"""No word of English, which might be what an optimizer calls its moments."""

NUMPY_DTYPES = st.sampled_from([("F32", "<f4"), ("F64", "<f8"), ("I16", "<i2"), ("U8", "u1"), ("BF16", "<u2")])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tensors=st.dictionaries(
        st.text(UNCASED, min_size=1, max_size=12),
        st.tuples(NUMPY_DTYPES, st.lists(st.integers(0, 4), max_size=4)),
        max_size=6,
    ),
    padding=st.integers(0, 9),
)
def test_any_sound_file_is_read_back(
    tmp_path: Path, tensors: dict[str, tuple[tuple[str, str], list[int]]], padding: int
) -> None:
    header, data, expected = {}, b"", {}
    for name, ((code, numpy_dtype), shape) in tensors.items():
        values = np.arange(math.prod(shape)).astype(numpy_dtype).reshape(shape)
        header[name] = described(code, shape, len(data), len(data) + values.nbytes)
        data += values.tobytes()
        expected[name] = values
    path = write_safetensors(tmp_path / "x.safetensors", json.dumps(header).encode() + b" " * padding, data)
    layers = open_checkpoint(path).layers
    assert sorted(layer.tensor.name for layer in layers) == sorted(expected)
    for layer in layers:
        values = expected[layer.tensor.name]
        assert layer.shape == values.shape
        raw = path.read_bytes()[layer.tensor.offset : layer.tensor.offset + layer.tensor.nbytes]
        assert raw == values.tobytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_any_changed_byte_gives_a_checkpoint_or_a_sentence(tmp_path: Path, position: int, value: int) -> None:
    content = bytearray(two_tensors(tmp_path / "x.safetensors").read_bytes())
    content[position % len(content)] = value
    (tmp_path / "x.safetensors").write_bytes(content)
    with suppress(CheckpointError):
        read_header(tmp_path / "x.safetensors")


def test_a_hundred_thousand_tensors(tmp_path: Path) -> None:
    count = 100_000
    header = {
        f"model.layers.{index // 100}.mlp.experts.{index % 100}.up_proj.weight": described(
            "BF16", [4, 4], 32 * index, 32 * index + 32
        )
        for index in range(count)
    }
    path = write_safetensors(tmp_path / "x.safetensors", header, bytes(32 * count))
    assert len(read_header(path).entries) == count
