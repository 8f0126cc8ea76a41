"""Evaluation during training: the averaged generator against held-out events."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from kerasgen.data.hits import Hits
from kerasgen.data.store import EventFile
from kerasgen.metrics.pixel import jaccard_distance, quick_metrics, selection_score
from kerasgen.metrics.pool import pool
from kerasgen.metrics.summary import Summary, summarise
from kerasgen.models.pxd_gan.sampling import EventGenerator
from kerasgen.training.checkpoint import BEST
from kerasgen.training.run_folder import append_metrics, read_metrics
from kerasgen.zoo import pictures
from kerasgen.zoo.config import Config
from kerasgen.zoo.generate import event_hits

# Held-out events that the generated ones are compared with, at most.
REFERENCE_EVENTS = 100
# Collapse: images of a sensor overlap this much more than the data's, in Jaccard distance, where
# they did not at an earlier evaluation. A network that has hardly learned repeats itself too.
LOST_DIVERSITY = 0.5


class Monitor:
    """Metrics, pictures and the choice of the best checkpoint.

    Arguments:
        config: of the run.
        run: run folder.
        file: open file of events.
        held_out: positions of the held-out events.
        generator: the network that is evaluated; the caller fills it.
        step: the run starts or goes on from here; what was recorded later does not count.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        file: EventFile,
        held_out: range,
        generator: keras.Model,
        step: int,
    ) -> None:
        geometry = file.geometry
        self.config = config
        self.run = run
        self.geometry = geometry
        self.generator = generator
        self.events = EventGenerator(
            generator,
            geometry.rows,
            geometry.cols,
            geometry.threshold,
            geometry.max_charge,
            types=tuple(config.data.channels),
        )
        stop = min(held_out.stop, held_out.start + REFERENCE_EVENTS)
        self.real = file.read_events(held_out.start, stop)
        self.reference = summarise(self.real, geometry)
        self.best = best_score(run, step)
        self.diverse = any(diverse(x["metrics"]) for x in read_metrics(run) if x["step"] <= step)
        self.writer = tf.summary.create_file_writer(str(run / "logs"))
        with self.writer.as_default(step=0):
            hparams.hparams(flat(asdict(config)), trial_id=run.name)

    def evaluate(self, step: int) -> tuple[str, bool]:
        """Metrics of the generator at a step: what is wrong ("" if nothing), and whether it is
        the best so far."""
        n = self.config.training.evaluate_events
        generated = event_hits(self.events, self.geometry, range(n), self.config.training.seed)
        summary = summarise(generated, self.geometry)
        values = quick_metrics(self.reference, summary)
        score = selection_score(values)
        better = score < self.best or not (self.run / BEST).is_file()
        self.best = min(score, self.best)
        trouble = self.collapse(summary, len(generated.adu))
        self.diverse |= diverse(values)
        finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
        document = {"metrics": finite, "score": score if math.isfinite(score) else None}
        append_metrics(self.run, step, document)
        self.log(step, values, score, generated, summary)
        return trouble, better

    def collapse(self, summary: Summary, hits: int) -> str:
        """What shows that the generator has collapsed, or nothing."""
        if hits == 0:
            return "the generator makes no hits"
        real = jaccard_distance(pool(self.reference))
        lost = real - jaccard_distance(pool(summary))
        if lost > LOST_DIVERSITY and self.diverse:
            return f"the generator repeats its images (diversity {real - lost:.2f} of {real:.2f})"
        return ""

    def log(
        self, step: int, values: dict[str, float], score: float, generated: Hits, summary: Summary
    ) -> None:
        """Metrics, pictures and histograms for TensorBoard."""
        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"held_out/{name}", value)
            tf.summary.scalar("held_out/score", score)
            tf.summary.histogram("adu/generated", generated.adu.astype(np.float32))
            tf.summary.histogram("adu/real", self.real.adu.astype(np.float32))
            if not len(generated.adu):
                return
            drawn = {"generated": summary}
            figures = {
                "hits": pictures.hit_maps(self.real, generated, self.geometry),
                "adu": pictures.adu_spectrum(self.reference, drawn),
                "occupancy_per_sensor": pictures.occupancy_per_sensor(self.reference, drawn),
            }
            for name, figure in figures.items():
                tf.summary.image(name, pictures.figure_to_png_array(figure)[None])
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def diverse(values: dict[str, Any]) -> bool:
    """Whether the images of a sensor differ from each other nearly as those of the data do."""
    lost = values.get("diversity")
    return lost is not None and lost <= LOST_DIVERSITY


def best_score(run: Path, step: int) -> float:
    """The lowest score that ``metrics.jsonl`` records up to a step; infinity at the start."""
    lines = [x for x in read_metrics(run) if x["step"] <= step]
    return min((x["score"] for x in lines if x.get("score") is not None), default=math.inf)


def recorded(run: Path, step: int) -> bool:
    """Whether ``metrics.jsonl`` has a line of this step."""
    return any(x["step"] == step for x in read_metrics(run))


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots, as TensorBoard's HParams wants them."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = str(value) if isinstance(value, list) else value
    return found
