"""Compile the loop of compiled streams, so that the first stream need not wait: ``python -m causalcnn.engine``."""

import time

import numpy as np

from causalcnn.engine import kernels

if __name__ == "__main__":
    started = time.process_time()
    for dtype in (np.float32, np.float64):
        kernels.compiled_for(np.dtype(dtype))
    print(f"causalcnn: the loop of compiled streams is ready, after {time.process_time() - started:.1f} s")
