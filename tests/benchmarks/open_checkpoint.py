"""How long opening takes and how much memory it adds: a 70B checkpoint in shards, and a file of 100,000 tensors.

    python -m tests.benchmarks.open_checkpoint [--json] [--repeat 5]

Each opening runs in a fresh process, so that the memory is that of one opening: as a function, on the command line,
and in the window. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.big_checkpoint import make_many_tensors, make_sparse_checkpoint

ROOT = Path(__file__).resolve().parents[2]

OPEN_ONCE = """
import json, re, sys, time
from pathlib import Path
from benchvise.core.checkpoint.open import open_checkpoint
def peak_kb():  # not getrusage: that counts what the parent had before exec
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak_kb()
begin = time.perf_counter()
checkpoint = open_checkpoint(sys.argv[1])
seconds = time.perf_counter() - begin
added = peak_kb() - before
assert "torch" not in sys.modules
print(json.dumps({"seconds": seconds, "added_mb": added / 1024, "tensors": checkpoint.tensors,
                  "gigabytes": checkpoint.nbytes / 1e9}))
"""

# The whole command, from the start of the interpreter; its memory is set against a command that opens nothing.
COMMAND_ONCE = """
import json, re, sys, time
from pathlib import Path
begin = time.perf_counter()
from benchvise.app.cli.entry import main
code = main(sys.argv[2:] if sys.argv[1] == "nothing" else ["inspect", sys.argv[1], "--json"])
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
sys.stderr.write(json.dumps({"command_seconds": time.perf_counter() - begin, "command_peak_mb": peak / 1024}))
sys.exit(code)
"""

# The real window, offscreen: from asking to the layers in the tree, and what the window's process grew by.
WINDOW_ONCE = """
import json, os, sys, tempfile, time
os.environ["QT_QPA_PLATFORM"] = "offscreen"
import psutil
from benchvise.app.shell.main_window import MainWindow
from benchvise.app.state.preferences import Preferences
from benchvise.app.shell.start import make_application, make_session
application = make_application()
folder = tempfile.mkdtemp()
session = make_session(Preferences(), workspace=folder)
window = MainWindow(session)
window.show()
def run(seconds, until=lambda: False):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and not until():
        application.processEvents()
        time.sleep(0.001)
run(5)
before, begin = psutil.Process().memory_info().rss, time.perf_counter()
window.opening.open(sys.argv[1])
run(60, lambda: session.document.checkpoint is not None)
seconds = time.perf_counter() - begin
run(1)
added = psutil.Process().memory_info().rss - before
print(json.dumps({"window_seconds": seconds, "window_added_mb": added / 2**20}))
session.client.close()
os._exit(0)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--repeat", type=int, default=5, help="openings per checkpoint; the median is shown")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = {
            "70B in shards": make_sparse_checkpoint(Path(folder) / "large"),
            "100,000 tensors": make_many_tensors(Path(folder) / "many.safetensors"),
        }
        results = {name: measure(path, options.repeat) for name, path in checkpoints.items()}
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, result in results.items():
        print(name)
        for key, value in result.items():
            print(f"  {key:18} {value:10.3f}")


def measure(path: Path, repeat: int) -> dict[str, float]:
    """The medians over `repeat` openings, and the slowest."""
    runs = [
        json.loads(_run(OPEN_ONCE, str(path)).stdout)
        | json.loads(_run(COMMAND_ONCE, str(path)).stderr)
        | {"command_base_mb": json.loads(_run(COMMAND_ONCE, "nothing", "presets").stderr)["command_peak_mb"]}
        | json.loads(_run(WINDOW_ONCE, str(path)).stdout)
        for _ in range(repeat)
    ]
    slowest = max(run["seconds"] for run in runs)
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]} | {"seconds_slowest": slowest}


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    main()
