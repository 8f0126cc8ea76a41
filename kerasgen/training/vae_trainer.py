"""A training run of the sparse VAE: auto-encoder, then the flow; point sets in, weights out."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.data.points import PointFile, PointSets
from kerasgen.errors import RunFailure
from kerasgen.models.pxd_gan.build import policy
from kerasgen.models.sparse_vae.units import Units, network_points
from kerasgen.models.sparse_vae.vae import SparseVAE
from kerasgen.training.checkpoint import LAST, load_weights, save_weights
from kerasgen.training.monitor import recorded
from kerasgen.training.point_data import WINDOW, SetSampler, divide, read_rows
from kerasgen.training.point_monitor import PointMonitor
from kerasgen.training.precision import resolve_precision
from kerasgen.training.schedule import WarmUpCosine
from kerasgen.zoo.initial import initial_weights
from kerasgen.zoo.point_sets.config import VAEConfig
from kerasgen.zoo.trained import POINT_WEIGHTS

LOG_EVERY = 20
LARGEST_GRADIENT = 10.0  # norm; one odd batch must not undo what was learned
# Training sets whose latents say where the flow begins.
STANDARDISE_SETS = 20_000


def build_vae(config: VAEConfig, units: Units) -> SparseVAE:
    """Networks and optimisers of a run."""
    settings, prior = config.training, config.prior
    keras.utils.set_random_seed(settings.seed)
    tf.config.experimental.enable_op_determinism()
    with policy(resolve_precision(settings.precision)):
        vae = SparseVAE(units, config.network, prior, config.loss, settings.seed)
    final, scale = settings.final_rate, tf.constant(1.0)
    vae.compile(
        *(
            keras.optimizers.Adam(
                WarmUpCosine(rate, max(steps, 1), settings.warm_up, final, scale),
                global_clipnorm=LARGEST_GRADIENT,
            )
            for rate, steps in ((settings.rate, settings.steps), (prior.rate, prior.steps))
        )
    )
    return vae


def batch_arrays(sets: PointSets, coordinates: str) -> dict[str, NDArray[Any]]:
    """What ``SparseVAE`` takes, one row for each set."""
    pt = sets.features[:, 0] if coordinates != "image" else np.ones(len(sets), np.float32)
    points = network_points(sets, coordinates)
    return {"points": points, "mask": sets.mask, "label": sets.label.astype(np.int32), "pt": pt}


def train_vae(
    config: VAEConfig, run: Path, units: Units, file: PointFile, monitor: PointMonitor
) -> SparseVAE:
    """Train to the end, from the last checkpoint if there is one, and keep the weights.

    Arguments:
        config: of the run.
        run: run folder.
        units: of the networks.
        file: point sets; those held out are left out.
        monitor: evaluates.

    Raises:
        RunFailure: a loss is not a number.
        KeyboardInterrupt: after saving a checkpoint.
    """
    settings = config.training
    vae = build_vae(config, units)
    if (run / LAST).is_file():
        load_weights(vae, run / LAST)
    elif settings.init:
        load_weights(Networks(vae), initial_weights(config))
    rows = divide(file, config.data).training

    def load(sets: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return batch_arrays(read_rows(file, rows[sets], units.size), units.coordinates)

    if len(rows) > WINDOW:
        rows = np.sort(rows)  # blocks of them are neighbours in the file
    sampler = SetSampler(load, len(rows), settings.batch, settings.seed)
    total = settings.steps + config.prior.steps
    with tqdm(
        total=total, initial=int(vae.step), unit="step", desc="training", disable=None
    ) as bar:
        try:
            step = int(vae.step)
            # An interrupt came between checkpoint and evaluation, or what it starts from is known.
            due = next_boundary(step - 1, config) == step if step else settings.init
            if due and not recorded(run, step):
                monitor.evaluate(vae, step)
            while (step := int(vae.step)) < total:
                end, begun = next_boundary(step, config), time.monotonic()
                if step >= settings.steps and vae.phase != "flow":
                    begin_flow(vae, sampler.arrays(0, 0), fresh=step == settings.steps)
                train_stretch(vae, sampler, end, monitor, bar)
                save_weights(vae, run / LAST)
                monitor.evaluate(vae, end)
                left = (time.monotonic() - begun) / (end - step) * (total - end) / 60
                bar.write(f"Step {end} of {total}: about {left:.0f} min to come")
        except KeyboardInterrupt:
            save_weights(vae, run / LAST)
            print(f"\nInterrupted; {run} holds a checkpoint, and --resume goes on from it.")
            raise
    save_weights(Networks(vae), run / POINT_WEIGHTS)
    return vae


def next_boundary(step: int, config: VAEConfig) -> int:
    """The step of the next evaluation: every so many steps, where the flow begins, at the end."""
    every, first = config.training.evaluate_every, config.training.steps
    following = min((step // every + 1) * every, first + config.prior.steps)
    return first if step < first < following else following


def begin_flow(vae: SparseVAE, arrays: dict[str, NDArray[Any]], fresh: bool) -> None:
    """From the auto-encoder to the flow, which starts at mean and width of encoded latents."""
    vae.phase = "flow"
    vae.train_function = None
    if not fresh:
        return
    sets = len(arrays["mask"])
    some = np.linspace(0, sets - 1, min(STANDARDISE_SETS, sets)).astype(int)  # of all classes
    found = [
        vae.encode({name: tf.constant(x[rows]) for name, x in arrays.items()})
        for rows in np.split(some, range(1000, len(some), 1000))
    ]
    mean = np.concatenate([x[0] for x in found])
    variance = np.exp(np.concatenate([x[1] for x in found]))
    vae.flow.center.assign(mean.mean(axis=0))
    vae.flow.spread.assign(np.sqrt(mean.var(axis=0) + variance.mean(axis=0)))


def train_stretch(
    vae: SparseVAE, sampler: SetSampler, end: int, monitor: PointMonitor, bar: tqdm
) -> None:
    """Steps up to ``end``, with their loss terms in TensorBoard."""
    if vae.train_function is None:
        vae.train_function = tf.function(vae.train_step)
    start = int(vae.step)
    for step, batch in enumerate(sampler.dataset(start, end - start), start + 1):
        terms = vae.train_function(batch)
        bar.update()
        if step % LOG_EVERY == 0 or step == end:
            values = {name: float(value) for name, value in terms.items()}
            if not math.isfinite(values["loss"]):
                raise RunFailure(
                    f"step {step}: the loss is not a number; try a lower training.rate"
                )
            monitor.log_terms(step, values)
            bar.set_postfix({"loss": f"{values['loss']:.3g}"}, refresh=False)


class Networks(keras.Model):
    """Encoder, decoder and flow without their optimisers: what generates and serves."""

    def __init__(self, vae: SparseVAE) -> None:
        super().__init__()
        self.encoder, self.decoder = vae.encoder, vae.decoder
        if vae.flow is not None:
            self.flow = vae.flow
        self.built = True
