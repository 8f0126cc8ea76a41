"""Two steps of a tiny GAN on one device and on all devices, on JAX: prints their loss terms."""

from __future__ import annotations

import json

import keras
import numpy as np
from tiny_gan import batch, gan

from kerasgen.training.distribution import use_all_devices
from kerasgen.training.trainer import compiled_step


def main() -> None:
    mesh = use_all_devices(4)
    real = {name: np.asarray(x) for name, x in batch(4).items()}
    found = []
    for devices in (None, mesh):
        model = gan(pretraining=True)
        step = compiled_step(model, devices)
        step.read_variables()
        terms = [step([real]) for _ in range(2)]
        step.write_variables()
        weights = float(sum(np.abs(np.asarray(w)).sum() for w in model.ema.weights))
        values = [{k: float(v) for k, v in x.items()} | {"weights": weights} for x in terms]
        found.append(values)
    print(json.dumps({"devices": len(keras.distribution.list_devices()), "terms": found}))


if __name__ == "__main__":
    main()
