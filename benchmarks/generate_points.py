"""Generation time of an exported model of point sets, in batches of 10 000.

``python benchmarks/generate_points.py MODEL``: MODEL is the folder of an exported model.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from kerasgen.zoo.lookup import load_to_generate

BATCH, REPEATS = 10_000, 10


def main(folder: str) -> None:
    """Print the time per set."""
    generate = load_to_generate(folder, calibrated=True).generator.generate
    seed = np.stack([np.ones(BATCH, np.int64), np.arange(BATCH)], -1)
    generate(seed=seed)["points"].numpy()
    processor, times = time.process_time(), []
    for k in range(1, REPEATS + 1):
        start = time.perf_counter()
        generate(seed=seed + k)["points"].numpy()
        times.append((time.perf_counter() - start) / BATCH * 1e6)
    processor = (time.process_time() - processor) / BATCH / REPEATS * 1e6
    print(
        f"{np.median(times):.1f} us per set of wall-clock time (median of {REPEATS}, fastest "
        f"{min(times):.1f}), {processor:.1f} us of processor time"
    )


if __name__ == "__main__":
    main(sys.argv[1])
