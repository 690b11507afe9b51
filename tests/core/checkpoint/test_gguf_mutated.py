"""Damaged and hostile GGUF files: ten thousand mutations of a real header, each opened or refused within bounds."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.checkpoint.gguf_samples import write_llama

MUTATIONS = 10_000
EXTRA_BYTES = 300 << 20
HEADER_BYTES = 3000

_OPENS = """
import random, resource, sys
from pathlib import Path
from benchvise.core.checkpoint.formats.gguf_file import read_gguf_header
from benchvise.core.checkpoint.formats.gguf_metadata import read_typed_values
from benchvise.core.errors import CheckpointError
from tests.core.checkpoint.test_gguf_mutated import mutated

source, place, count, limit = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
chance, refused = random.Random(0), 0
for number in range(count):
    place.write_bytes(mutated(source, chance))
    for read in (read_gguf_header, read_typed_values):
        try:
            read(place)
        except CheckpointError as error:
            assert error.what
            refused += 1
print(refused)
"""


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with bytes changed, a number made absurd, a piece cut out or put in twice, or its end missing."""
    found = bytearray(content)
    place = chance.randrange(HEADER_BYTES)
    match chance.randrange(6):
        case 0:
            for _ in range(chance.randint(1, 8)):
                found[chance.randrange(HEADER_BYTES)] = chance.randrange(256)
        case 1:
            absurd = chance.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1))
            found[place : place + 8] = absurd.to_bytes(8, "little")
        case 2:
            del found[place : place + chance.randint(1, 64)]
        case 3:
            found[place:place] = found[place : place + chance.randint(1, 64)]
        case 4:
            del found[chance.randrange(len(found)) :]
        case 5:
            found[place] ^= 1 << chance.randrange(8)
    return bytes(found)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_every_mutation_is_opened_or_refused_within_300_mb(tmp_path: Path) -> None:
    write_llama(tmp_path / "x.gguf")
    arguments = [str(tmp_path / "x.gguf"), str(tmp_path / "y.gguf"), str(MUTATIONS), str(EXTRA_BYTES)]
    done = subprocess.run([sys.executable, "-c", _OPENS, *arguments], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > MUTATIONS // 10
