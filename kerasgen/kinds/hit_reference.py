"""Held-out hits that generated ones are compared with during training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry
from kerasgen.data.hits import Hits, without
from kerasgen.kinds.kind import Comparison
from kerasgen.metrics.pixel import jaccard_distance, quick_metrics, selection_score
from kerasgen.metrics.pool import pool
from kerasgen.metrics.summary import summarise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Collapse: images of a sensor overlap this much more than the data's, in Jaccard distance, where
# they did not at an earlier evaluation. A network that has hardly learned repeats itself too.
LOST_DIVERSITY = 0.5


class HitReference:
    """Held-out hits that generated ones are compared with during training.

    Args:
        events: held-out events.
        geometry: the detector.
        generated_events: number of generated events that are compared.
        left_out: bool [sensors, rows, cols], pixels whose hits are not compared; None: all are.
    """

    def __init__(
        self,
        events: Hits,
        geometry: Geometry,
        generated_events: int,
        left_out: NDArray[np.bool_] | None = None,
    ) -> None:
        self.left_out = left_out
        self.events = without(events, left_out)
        self.generated_events = generated_events
        self.geometry = geometry
        self.summary = summarise(self.events, geometry)

    def compare(self, generated: Hits, history: list[dict[str, Any]]) -> Comparison:
        """Every metric without its error, the selection score, and whether images collapsed."""
        summary = summarise(without(generated, self.left_out), self.geometry)
        values = quick_metrics(self.summary, summary)
        failure = ""
        if not len(generated.adu):
            failure = "the generator makes no hits"
        elif any(is_diverse(line["metrics"]) for line in history):
            real = jaccard_distance(pool(self.summary))
            lost = real - jaccard_distance(pool(summary))
            if lost > LOST_DIVERSITY:
                failure = (
                    f"the generator repeats its images (diversity {real - lost:.2f} of {real:.2f})"
                )
        return Comparison(values, selection_score(values), failure, summary)

    def figures(self, generated: Hits, comparison: Comparison) -> dict[str, Figure]:
        """Hit maps, charge and occupancy; none of events without hits."""
        from kerasgen.evaluation import hit_figures

        if not len(generated.adu):
            return {}
        drawn = {"generated": comparison.summary}
        return {
            "hits": hit_figures.hit_maps(self.events, generated, self.geometry),
            "adu": hit_figures.adu_spectrum(self.summary, drawn),
            "occupancy_per_sensor": hit_figures.sensor_occupancies(self.summary, drawn),
        }

    def histograms(self, generated: Hits) -> dict[str, Any]:
        """Charges, ADU."""
        samples = {"generated": generated, "real": self.events}
        return {f"adu/{name}": hits.adu.astype(np.float32) for name, hits in samples.items()}


def is_diverse(values: dict[str, Any]) -> bool:
    """Whether the images of a sensor differ from each other nearly as those of the data do."""
    lost = values.get("diversity")
    return lost is not None and lost <= LOST_DIVERSITY
