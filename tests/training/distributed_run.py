"""Trainings on logical CPU devices of one process, or as one of two workers.

``distributed_run.py DEVICES [-- kerasgen-train-arguments]...`` trains once for each ``--``. Every
step is logged. Workers evaluate during their training; nothing is made of its end.
"""

from __future__ import annotations

import os
import sys
from itertools import groupby

import tensorflow as tf

from kerasgen.command import run
from kerasgen.training import trainer
from kerasgen.zoo import run as zoo_run
from kerasgen.zoo.train import main

if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
    tf.config.set_logical_device_configuration(cpu, devices)
    # Large graphs of few steps: to optimise them takes longer than the steps do.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    trainer.LOG_EVERY = 1
    zoo_run.train_to_end = zoo_run.train_in
    if "TF_CONFIG" not in os.environ:
        trainer.checkpoint = lambda *_: None
    trainings = [list(x) for is_end, x in groupby(sys.argv[2:], "--".__eq__) if not is_end]
    raise SystemExit(max(run(main, arguments) for arguments in trainings))
