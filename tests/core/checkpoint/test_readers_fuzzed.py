"""Each reader on seeded mutations of real files: opened or refused within bounds of memory and time, nothing else.

`python -m tests.core.checkpoint.test_readers_fuzzed 200000` tries as many by hand.
"""

from __future__ import annotations

import io
import os
import random
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.checkpoint.formats.registry import read_file
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError

MUTATIONS = 1_000
"""Of each kind of file; a twentieth where another package reads, which takes about twenty times as long."""
EXTRA_BYTES = 300 << 20
ABSURD = (0, 1, 2**15 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
_BY_PACKAGE = ("hdf5", "keras")


def samples(folder: Path) -> dict[str, bytes]:
    """A small file of each kind, as the packages write it."""
    import h5py
    import msgpack
    import onnx
    from onnx import helper, numpy_helper
    from safetensors.numpy import save

    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = {"safetensors": save({"a.weight": values, "b": values})}
    for name, write in {
        "torch": lambda out: torch.save({"a.weight": torch.from_numpy(values), "lr": 0.1}, out),
        "torch-old": lambda out: torch.save({"a": torch.from_numpy(values)}, out, _use_new_zipfile_serialization=False),
        "npz": lambda out: np.savez(out, a=values, b=values),
        "npz-packed": lambda out: np.savez_compressed(out, a=values, b=values),
        "npy": lambda out: np.save(out, values),
        "hdf5": lambda out: _write_hdf5(h5py, out, values),
    }.items():
        stream = io.BytesIO()
        write(stream)
        found[name] = stream.getvalue()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("model.weights.h5", found["hdf5"])
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(values, "a.weight")])
    array = msgpack.ExtType(1, msgpack.packb((values.shape, "float32", values.tobytes()), use_bin_type=True))
    found["keras"] = archive.getvalue()
    found["onnx"] = helper.make_model(graph).SerializeToString()
    found["onnx-beside"] = _beside(onnx, values, folder)
    found["msgpack"] = msgpack.packb({"a": {"kernel": array, "bias": array}}, use_bin_type=True)
    return found


def _write_hdf5(h5py: object, out: io.BytesIO, values: np.ndarray) -> None:
    with h5py.File(out, "w") as file:  # type: ignore[attr-defined]
        file.create_dataset("layers/a", data=values)
        file.create_dataset("layers/b", data=values, chunks=(2, 2), compression="gzip")


def _beside(onnx: object, values: np.ndarray, folder: Path) -> bytes:
    tensor = onnx.TensorProto(name="w", dims=values.shape, data_type=1, data_location=1)  # type: ignore[attr-defined]
    for key, value in {"location": "data", "offset": "0", "length": str(values.nbytes)}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "data").write_bytes(values.tobytes())
    return onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor])).SerializeToString()  # type: ignore[attr-defined]


def mutations(content: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """The content with bytes changed, a number made absurd, a piece cut out or put in twice, or its end missing."""
    for _ in range(count):
        found = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(max(1, len(found)))
            piece = found[place : place + chance.randint(1, 64)]
            match chance.randrange(6):
                case 0:
                    found[place : place + 1] = bytes([chance.randrange(256)])
                case 1:
                    width = chance.choice((1, 2, 4, 8))
                    number = (chance.choice(ABSURD) % 256**width).to_bytes(width, chance.choice(("little", "big")))
                    found[place : place + width] = number
                case 2:
                    del found[place : place + len(piece)]
                case 3:
                    found[place:place] = piece
                case 4:
                    del found[place + len(piece) :]
                case 5:
                    found[place : place + 1] = bytes([found[place] ^ 1 << chance.randrange(8)]) if found else b""
        yield bytes(found)


def attack(folder: Path, count: int) -> int:
    """Opens `count` mutations of each sample under a limit of memory; how many were refused."""
    originals = samples(folder)
    for name, content in originals.items():
        (folder / f"whole {name}").write_bytes(content)
        assert read_file(folder / f"whole {name}").entries, name
    used = int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmSize:")[2].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + EXTRA_BYTES, used + EXTRA_BYTES))
    refused, place = 0, folder / "mutated"
    for name, content in originals.items():
        slow = name in _BY_PACKAGE
        for changed in mutations(content, random.Random(name), count // 20 if slow else count):
            place.write_bytes(changed)
            try:
                read_file(place)
            except CheckpointError:
                refused += 1
    return refused


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_mutations_are_opened_or_refused_within_300_mb(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.core.checkpoint.test_readers_fuzzed", str(MUTATIONS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > MUTATIONS


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("model.safetensors", "loop"):
        with pytest.raises(CheckpointError, match=r"no regular file|to itself"):
            open_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="no regular file"):
        open_checkpoint("/dev/zero")
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path)


def test_members_that_overlap_or_claim_too_much_are_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(4, np.float32), b=np.ones(4, np.float32))
    content = stream.getvalue()
    second = content.rfind(b"PK\x01\x02")
    (tmp_path / "x.npz").write_bytes(content[: second + 42] + bytes(4) + content[second + 46 :])
    with pytest.raises(CheckpointError, match=r"overlaps|same name"):
        open_checkpoint(tmp_path / "x.npz")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        print(attack(Path(sys.argv[2] if len(sys.argv) > 2 else made), int(sys.argv[1])))
