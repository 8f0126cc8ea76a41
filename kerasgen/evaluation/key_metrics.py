"""Metrics of released recipes that the README and ``kerasgen list`` show."""

from __future__ import annotations

# Label, factor, unit.
KEY_METRICS = {
    "occupancy_per_sensor": ("occupancy error per sensor", 100, "%"),
    "occupancy_w1": ("W1 of occupancy", 1, ""),
    "occupancy_width": ("width of occupancy", 100, "%"),
    "variance_over_mean": ("variance / mean of fired pixels", 100, "%"),
    "adu_w1": ("W1 of charge, fired pixels", 1, "ADU"),
    "adu_mean": ("mean charge", 100, "%"),
    "cluster_size": ("mean cluster size", 1, "pixels"),
    "cluster_size_v": ("mean cluster length along v", 1, "pixels"),
    "cluster_size_u": ("mean cluster length along u", 1, "pixels"),
    "cluster_size_w1": ("W1 of cluster size", 1, "pixels"),
    "cluster_charge_w1": ("W1 of cluster charge / mean", 100, "%"),
    "auc_patches": ("AUC, patches of 16 x 16", 1, ""),
    "auc_images": ("AUC, whole images", 1, ""),
    "misclassified": ("misclassified", 100, "%"),
    "frechet": ("Frechet distance of the classifier", 1, ""),
    "w1m": ("W1 of the mass / pT", 1, ""),
    "w1p": ("mean W1 of the coordinates", 1, ""),
    "w1efp": ("mean W1 of energy flow polynomials", 1, ""),
    "w1_pt": ("W1 of summed pT / pT", 1, ""),
    "w1_total": ("W1 of summed intensity", 1, ""),
    "fpd": ("FPD", 1, ""),
    "kpd": ("KPD", 1, ""),
    "cov": ("COV", 1, ""),
    "mmd": ("MMD", 1, ""),
}
# IEA-GAN, arXiv:2303.08046, against Geant4: recomputed from its published evaluation.
PUBLISHED = {
    "occupancy_per_sensor": "11.7",
    "occupancy_w1": "0.93e-3",
    "adu_w1": "2.80",
    "adu_mean": "10.6",
}
