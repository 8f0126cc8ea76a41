"""Digitizer of pixel charges: electronic noise and analogue-digital conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.simulation.detector import Floats


def digitize(charge_e: Floats, pedestal: Floats, e_per_adu: float, clip: int) -> NDArray[np.int64]:
    """Convert charge to ADU: min(round(q / e_per_adu + pedestal), clip) - round(pedestal).

    Args:
        charge_e: [n] electrons, including noise.
        pedestal: [n] ADU.
        e_per_adu: electrons per ADU.
        clip: highest code of the converter (255 for 8 bit).
    """
    code = np.minimum(np.rint(charge_e / e_per_adu + pedestal), clip)
    return (code - np.rint(pedestal)).astype(np.int64)


def read_out(
    rng: np.random.Generator, charge_e: Floats, table: dict[str, Any]
) -> NDArray[np.int64]:
    """Digitise pixel charges with noise, before zero suppression; return ADU.

    Args:
        rng: random generator of noise and pedestals.
        charge_e: [n] electrons.
        table: digitizer table of the geometry (Belle II PXD: 150 e noise, 216.7 e/ADU, pedestal
            100 +- 30 ADU per pixel, 8 bit).
    """
    n = len(charge_e)
    noisy = charge_e + table["ElectronicNoise_ENC_e"] * rng.standard_normal(n)
    pedestal = table["PedestalMean_ADU"] + table["PedestalRMS_ADU"] * rng.standard_normal(n)
    return digitize(
        noisy,
        np.maximum(pedestal, 0.0),
        float(table["e_per_ADU_derived"]),
        int(table["ADC_clip_ADU"]),
    )
