"""What holds for all tests: processes that run beside each other take one thread each."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: two pools of threads on the same cores wait for each other more than they compute.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
