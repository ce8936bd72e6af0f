"""Benchmarks: speed against the usual implementation, on one thread.

Two threads fight over small algebra on a busy machine and slow both sides down, unevenly; the
limit must be set before numpy is loaded.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
