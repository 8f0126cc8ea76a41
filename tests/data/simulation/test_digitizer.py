import numpy as np
import pytest

from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.digitizer import digitize, read_out

TABLE = load_geometry("belle2-pxd").extra["digitizer"]
E_PER_ADU = TABLE["e_per_ADU_derived"]


@pytest.mark.parametrize(
    ("electrons", "pedestal", "adu"),
    [
        (0.0, 100.0, 0),
        (1517.0, 100.0, 7),  # 7.0 ADU: the threshold
        (1400.0, 100.0, 6),  # 6.46
        (1409.0, 100.0, 7),  # 6.503 rounds up
        (
            1400.0,
            100.4,
            7,
        ),  # 6.46 + 100.4 = 106.86 -> 107, minus 100: the pedestal's fraction counts
        (1e6, 100.0, 155),  # 255 - 100: saturation
        (1e6, 130.6, 124),  # 255 - 131
        (155 * 650 / 3, 100.0, 155),
        (156 * 650 / 3, 100.0, 155),
    ],
)
def test_hand_values(electrons, pedestal, adu):
    assert digitize(np.array([electrons]), np.array([pedestal]), E_PER_ADU, 255).tolist() == [adu]


def test_readout_noise_and_end_of_the_spectrum():
    rng = np.random.default_rng(0)
    small = read_out(rng, np.full(200_000, 20 * E_PER_ADU), TABLE)
    assert small.mean() == pytest.approx(20.0, abs=0.02)
    # 150 e noise and two roundings of 1/sqrt(12) ADU each
    assert small.std() == pytest.approx(np.hypot(150 / E_PER_ADU, np.sqrt(2 / 12)), rel=0.03)
    full = read_out(rng, np.full(200_000, 1e7), TABLE)
    assert full.mean() == pytest.approx(155.0, abs=0.3)
    assert full.std() == pytest.approx(30.0, rel=0.02)
    assert full.max() <= 255
