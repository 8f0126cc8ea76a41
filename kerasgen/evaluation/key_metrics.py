"""Metrics that decide, by sort of data: one list for report, terminal, README and model cards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class KeyMetric:
    """One line of every table.

    Attributes:
        label: what differs, in words.
        factor: of the value shown over the recorded value.
        unit: of the value shown.
        option: option of ``kerasgen evaluate`` without which it is not measured.
    """

    label: str
    factor: float = 1
    unit: str = ""
    option: str = ""

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label


@dataclass(frozen=True)
class Sort:
    """A sort of data.

    Attributes:
        noun: what its events are called, in the plural.
        metrics: key metrics by name, in the order of the tables.
    """

    noun: str
    metrics: dict[str, KeyMetric]


PIXELS = Sort(
    "events",
    {
        "occupancy_per_sensor": KeyMetric("fired pixels per sensor", 100, "%"),
        "occupancy_width": KeyMetric("spread of occupancy between events", 100, "%"),
        "adu_w1": KeyMetric("charge spectrum (W1)", unit="ADU"),
        "adu_mean": KeyMetric("mean charge of fired pixels", 100, "%"),
        "cluster_repeats_16_24": KeyMetric("repeated clusters of 16 to 24 pixels", 100, "%"),
        "cluster_size_u": KeyMetric("cluster length along u", unit="pixels"),
        "cluster_size_v": KeyMetric("cluster length along v", unit="pixels"),
        "cluster_charge_w1": KeyMetric("cluster charge (W1 / mean)", 100, "%"),
        "line_pairs": KeyMetric("pairs of clusters about tracks", unit="per event"),
        # Sees repeated images, which the network of patches does not.
        "auc_images": KeyMetric("a network tells images apart", 1, "AUC", "--networks"),
        "tracking_d0": KeyMetric("effect on tracks (d0 resolution)", 100, "%", "--tracking"),
    },
)
JETS = Sort(
    "jets",
    {
        "w1m": KeyMetric("jet mass / pT (W1)"),
        "w1_pt": KeyMetric("summed pT / jet pT (W1)"),
        "w1p": KeyMetric("eta, phi, pT of constituents (W1)"),
        "w1efp": KeyMetric("energy flow polynomials (W1)"),
        "w1_tau21": KeyMetric("N-subjettiness tau2 / tau1 (W1)"),
        "w1_tau32": KeyMetric("N-subjettiness tau3 / tau2 (W1)"),
        "fpd": KeyMetric("Frechet distance of EFPs (FPD)"),
        "kpd": KeyMetric("kernel distance of EFPs (KPD)"),
        "cov": KeyMetric("real jets covered (COV)", 100, "%"),
        "mmd": KeyMetric("distance to nearest jet (MMD)"),
        "auc": KeyMetric("a network tells jets apart", 1, "AUC", "--networks"),
    },
)
SUPERPIXELS = Sort(
    "superpixel images",
    {
        "misclassified": KeyMetric("taken for another class", 100, "%"),
        "frechet": KeyMetric("Frechet distance of a classifier"),
        "w1p": KeyMetric("position, intensity of points (W1)"),
        "w1_total": KeyMetric("summed intensity (W1)"),
        "cov": KeyMetric("real images covered (COV)", 100, "%"),
        "mmd": KeyMetric("distance to nearest image (MMD)"),
    },
)
# IEA-GAN, arXiv:2303.08046, against Geant4: recomputed from its published evaluation.
PUBLISHED = {"occupancy_per_sensor": "11.7", "adu_w1": "2.80", "adu_mean": "10.6"}


def sort_of(measured: Iterable[str]) -> Sort:
    """The sort of data that most of the metrics measured belong to."""
    names = set(measured)
    return max((PIXELS, JETS, SUPERPIXELS), key=lambda sort: len(names & sort.metrics.keys()))
