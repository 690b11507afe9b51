"""Files written in blocks are byte for byte what the safetensors library writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.errors import OutputError
from benchvise.core.export.sharded_writer import ShardedWriter
from benchvise.core.export.shards import Shards, split

DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.float8_e5m2, torch.float8_e4m3fn, torch.float8_e8m0fnu,
    torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.int16, torch.uint16, torch.float16, torch.bfloat16,
    torch.int32, torch.uint32, torch.float32, torch.complex64, torch.float64, torch.int64, torch.uint64,
)  # fmt: skip


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def values(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return torch.arange(torch.Size(shape).numel()).remainder(2).view(shape).to(dtype)


def write(folder: Path, tensors: dict[str, torch.Tensor], shard_bytes: int = 1 << 40) -> tuple[str, ...]:
    declared = [StoredTensor(name, name_of(tensor.dtype), tuple(tensor.shape)) for name, tensor in tensors.items()]
    shards = Shards(declared, shard_bytes)
    with ShardedWriter(folder, shards) as files:
        for name, tensor in tensors.items():
            rows = tensor if tensor.dim() else tensor.view(1)
            for row in rows:
                files.write(name, row)
    assert sum(path.stat().st_size for path in folder.iterdir()) == shards.disk_bytes
    return shards.names


def test_every_dtype_and_odd_shapes(tmp_path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for index, dtype in enumerate(DTYPES):
        tensors[f"z{index}"] = values(dtype, 3, 5)
        tensors[f"a{index}"] = values(dtype)
    tensors |= {"empty": torch.empty(0, 4), 'é"\\\n😀': torch.ones(1, 7), "": torch.zeros(2)}
    write(tmp_path, tensors)
    assert (tmp_path / "model.safetensors").read_bytes() == save(tensors, {"format": "pt"})


def test_no_tensors_at_all(tmp_path: Path) -> None:
    write(tmp_path, {})
    assert load_file(tmp_path / "model.safetensors") == {}


def test_shards_and_their_index(tmp_path: Path) -> None:
    tensors = {f"layer{number}": torch.full((4, 4), float(number)) for number in range(7)}
    names = write(tmp_path, tensors, shard_bytes=128)
    assert names == tuple(f"model-{number:05d}-of-00004.safetensors" for number in range(1, 5))
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 7 * 64
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], tensors[name])
    assert set(index["weight_map"]) == set(tensors)


def test_a_tensor_larger_than_a_shard_gets_one_of_its_own() -> None:
    tensors = [StoredTensor("a", "uint8", (10,)), StoredTensor("b", "uint8", (100,)), StoredTensor("c", "uint8", (10,))]
    assert [[tensor.name for tensor in shard] for shard in split(tensors, 50)] == [["a"], ["b"], ["c"]]


def test_bytes_that_were_not_written_are_a_fault(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="not written to the end"),
        ShardedWriter(tmp_path, Shards([StoredTensor("a", "uint8", (4,))])),
    ):
        pass


@pytest.mark.parametrize(
    "tensors",
    [
        [StoredTensor("a", "complex128", (1,))],
        [StoredTensor("a", "uint8", (1,)), StoredTensor("a", "uint8", (1,))],
        [StoredTensor("__metadata__", "uint8", (1,))],
    ],
)
def test_what_the_format_cannot_hold(tensors: list[StoredTensor]) -> None:
    with pytest.raises(OutputError):
        Shards(tensors)
