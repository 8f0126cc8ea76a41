"""Collective operations of the replicas of a training step (``tf.distribute``).

Replica r of R holds rows r * B to (r + 1) * B of the global batch. Every replica divides its loss
by R and the gradients are summed, so a step equals the step of one device on the whole batch.
Without a strategy, and on other backends than TensorFlow, there is one replica.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def replica_context() -> Any:
    """Replica context of a step on several replicas; None with one replica."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def replica_count() -> int:
    """R, the number of replicas of the step."""
    context = replica_context()
    return context.num_replicas_in_sync if context else 1


def replica_index() -> Any:
    """r, the index of this replica: 0 to R - 1, int32."""
    context = replica_context()
    return context.replica_id_in_sync_group if context else 0


def sum_over_replicas(x: Any) -> Any:
    """Sum a float tensor over the replicas; the gradients are summed too."""
    context = replica_context()
    return context.all_reduce("SUM", x) if context else x


def mean_over_replicas(x: Any) -> Any:
    """Average a float tensor over the replicas."""
    return sum_over_replicas(x) / replica_count() if replica_context() else x


def gather_rows(x: Any) -> Any:
    """Gather [B, ...] of every replica to [R * B, ...] of the global batch, with gradient."""
    if not replica_context():
        return x
    rows, before = ops.shape(x)[0], replica_index()
    edges = [[before * rows, (replica_count() - 1 - before) * rows], *[[0, 0]] * (len(x.shape) - 1)]
    return sum_over_replicas(ops.pad(x, edges))


def assign_on_replicas(variable: Any, value: Any) -> None:
    """Assign a value that all replicas have computed identically, without communication."""
    context = replica_context()
    if context is None:
        variable.assign(value)
        return

    def update(strategy: Any, value: Any) -> None:
        strategy.extended.update(variable.value, lambda copy, x: copy.assign(x), args=(value,))

    context.merge_call(update, args=(value,))
