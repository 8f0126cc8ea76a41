"""A training on two logical CPU devices, or as one of two workers: ``distributed_run.py DEVICES
kerasgen-train-arguments``. Every step is logged."""

from __future__ import annotations

import sys

import tensorflow as tf

from kerasgen.command import run
from kerasgen.training import trainer
from kerasgen.zoo.train import main

if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
    tf.config.set_logical_device_configuration(cpu, devices)
    trainer.LOG_EVERY = 1
    raise SystemExit(run(main, sys.argv[2:]))
