"""The long proof: kills, damage, hostile files and full disks in numbers; `python -m tests.soak`.

pytest does not collect it: its cases in small numbers are tests beside the code that they are of.
"""

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # before numpy and torch read them: cases are forked
