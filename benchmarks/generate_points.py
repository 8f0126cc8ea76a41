"""Generation time of an exported model of point sets, in batches of 10 000.

``python benchmarks/generate_points.py MODEL``: MODEL is a folder with ``saved_model.pb``.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import tensorflow as tf
from kerasgen.zoo.point_sets.generate import one_thread_per_tile

BATCH, REPEATS = 10_000, 10


def main(folder: str) -> None:
    one_thread_per_tile()
    model = tf.saved_model.load(folder)
    generate = model.signatures["generate"]
    seed = tf.constant(np.stack([np.ones(BATCH), np.arange(BATCH)], -1), tf.int64)
    generate(seed=seed)["points"].numpy()
    processor, times = time.process_time(), []
    for k in range(1, REPEATS + 1):
        start = time.perf_counter()
        generate(seed=seed + k)["points"].numpy()
        times.append((time.perf_counter() - start) / BATCH * 1e6)
    processor = (time.process_time() - processor) / BATCH / REPEATS * 1e6
    print(
        f"{np.median(times):.1f} us per set by the clock (median of {REPEATS}, fastest "
        f"{min(times):.1f}), {processor:.1f} us of processor time"
    )


if __name__ == "__main__":
    main(sys.argv[1])
