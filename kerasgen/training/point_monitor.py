"""Evaluation of a sparse VAE during training, on held-out sets: numbers, TensorBoard, pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from scipy.stats import wasserstein_distance
from tensorboard.plugins.hparams import api as hparams

from kerasgen.data.jets import jet_observables
from kerasgen.data.points import PointSets, multiplicity
from kerasgen.training.monitor import flat
from kerasgen.training.run_folder import append_metrics
from kerasgen.zoo.pictures import figure_to_png_array
from kerasgen.zoo.point_sets import pictures

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.vae import SparseVAE
    from kerasgen.zoo.point_sets.config import VAEConfig

PICTURED = 8  # sets that are shown as input, reconstruction and generated


class PointMonitor:
    """Metrics and pictures of a run.

    Arguments:
        config: of the run.
        run: run folder.
        held_out: sets that training never sees.
        arrays: the same as the network takes them, see ``batch_arrays``.
        table: conditions of generated sets.
    """

    def __init__(
        self,
        config: VAEConfig,
        run: Path,
        held_out: PointSets,
        arrays: dict[str, Any],
        table: dict[str, Any],
    ) -> None:
        self.config = config
        self.run = run
        n = config.training.evaluate_events
        self.held_out = held_out.take(slice(0, n))
        self.batch = {name: tf.constant(x[:n]) for name, x in arrays.items()}
        self.table = table
        self.generator: Any = None  # made once: its functions are traced
        self.writer = tf.summary.create_file_writer(str(run / "logs"))
        with self.writer.as_default(step=0):
            hparams.hparams(flat(asdict(config)), trial_id=run.name)

    def log_terms(self, step: int, values: dict[str, float]) -> None:
        """Loss terms of a training step."""
        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"train/{name}", value)

    def evaluate(self, vae: SparseVAE, step: int) -> None:
        """Metrics of the networks at a step, into ``metrics.jsonl`` and TensorBoard."""
        from kerasgen.models.sparse_vae.sampling import PointGenerator

        held_out, config = self.held_out, self.config
        terms = {name: np.asarray(x) for name, x in vae.test_step(self.batch).items()}
        kl = terms.pop("kl_per_dimension")
        values = {name: float(value) for name, value in terms.items()}
        if self.generator is None:
            size = held_out.points.shape[1]
            self.generator = PointGenerator(vae, self.table, size, config.network.latent_size)
        generator = self.generator
        generated = generated_sets(generator, range(len(held_out)), config.training.seed)
        rebuilt = reconstructed_sets(generator, held_out.take(slice(0, PICTURED)))
        values |= {f"w1_{k}": v for k, v in quick_w1(held_out, generated).items()}
        append_metrics(self.run, step, {"metrics": values})
        jets = vae.units.coordinates != "image"
        figures = {
            "sets": pictures.side_by_side(held_out, rebuilt, generated, PICTURED, jets),
            "kl_per_dimension": pictures.kl_bars(kl),
            "features": pictures.features(held_out, {"generated": generated}, jets),
        }
        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"held_out/{name}", value)
            tf.summary.histogram("kl_per_dimension", kl)
            for name, figure in figures.items():
                tf.summary.image(name, figure_to_png_array(figure)[None])
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def generated_sets(generator: Any, events: range, seed: int, pt: float | None = None) -> PointSets:
    """Generated sets of these event numbers, of the pT in GeV asked for if any is."""
    pair = np.stack([np.full(len(events), seed), np.arange(events.start, events.stop)], -1)
    if pt is None:
        found = generator.generate(tf.constant(pair, tf.int64))
    else:
        found = generator.generate_pt(tf.constant(pair, tf.int64), tf.fill([len(events)], pt))
    found = {name: np.asarray(x) for name, x in found.items()}
    return answered_sets(found, found["label"], found["jet"], found["total"])


def reconstructed_sets(generator: Any, sets: PointSets) -> PointSets:
    """Real sets through encoder and decoder."""
    jet = np.zeros((len(sets), 2), np.float32)
    if sets.features.shape[1] >= 2:
        jet = sets.features[:, :2]
    found = generator.reconstruct(
        tf.constant(sets.points), tf.constant(sets.counts, tf.int32),
        tf.constant(sets.label, tf.int32), tf.constant(jet),
    )  # fmt: skip
    found = {name: np.asarray(x) for name, x in found.items()}
    return answered_sets(found, sets.label, jet, multiplicity(sets))


def answered_sets(
    found: dict[str, np.ndarray], label: np.ndarray, jet: np.ndarray, total: np.ndarray
) -> PointSets:
    """Point sets from the answer of a generator; features: those of jets, mass of its points.

    ``total``: multiplicity before the cut to P points.
    """
    points, count = found["points"], found["count"]
    mask = np.arange(points.shape[1]) < count[:, None]
    features = total[:, None].astype(np.float32)
    if jet.any():
        mass = jet_observables(points, mask)["mass"] * jet[:, 0]
        features = np.stack([jet[:, 0], jet[:, 1], mass, total], -1).astype(np.float32)
    return PointSets(points, mask, label.astype(np.uint8), features)


def quick_w1(real: PointSets, generated: PointSets) -> dict[str, float]:
    """W1 of the coordinates of points (mean), and of summed intensity or mass of jets."""
    a, b = (x.points[x.mask] for x in (real, generated))
    found = {"points": float(np.mean([wasserstein_distance(a[:, k], b[:, k]) for k in range(3)]))}
    if real.features.shape[1] >= 4:
        masses = [jet_observables(x.points, x.mask)["mass"] for x in (real, generated)]
        return found | {"mass": float(wasserstein_distance(*masses))}
    sums = [x.points[..., 2].sum(axis=1) for x in (real, generated)]
    return found | {"total": float(wasserstein_distance(*sums))}
