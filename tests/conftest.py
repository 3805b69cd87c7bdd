"""One thread per test process: small matrices are faster so, and sums have one order."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
