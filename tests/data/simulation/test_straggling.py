import numpy as np
import pytest

from kerasgen.data.simulation.straggling import (
    BINS,
    LENGTHS,
    collision_spectrum,
    fluctuation,
    straggling_table,
)

MEAN = 0.308  # keV/um, of a fast electron below 30 keV


def test_close_collisions_are_those_of_free_electrons():
    energy = np.array([10.0, 20.0])
    # Above the shells dN/dE = xi / E^2 and a small rest of the K shell.
    ratio = collision_spectrum(energy) * energy**2 / 17.83e-3
    assert (ratio > 1.0).all()
    assert (ratio < 1.35).all()


def test_collisions_per_length_are_those_of_bichsel():
    centres = (np.arange(2**14) + 0.5) * 0.005
    number = np.where(centres < 30, collision_spectrum(centres), 0.0) * 0.005
    plasmons = (MEAN - (number * centres).sum()) / 16.9e-3
    assert number.sum() + plasmons == pytest.approx(3.8, rel=0.1)  # per um


def test_steps_add_up_to_the_distribution_of_the_whole_path():
    table = straggling_table(MEAN, 30.0)
    rng = np.random.default_rng(0)
    whole = fluctuation(rng, np.full(40_000, 64.0, np.float32), table[-1:].repeat(len(LENGTHS), 0))
    for steps in (4, 8):
        parts = fluctuation(rng, np.full(40_000 * steps, 64.0 / steps, np.float32), table)
        summed = parts.reshape(-1, steps).sum(1)
        levels = [10, 50, 90, 97]
        assert np.percentile(summed, levels) == pytest.approx(np.percentile(whole, levels), abs=0.5)


def test_a_step_without_length_loses_nothing():
    table = np.ones((len(LENGTHS), BINS), np.float32)
    lost = fluctuation(np.random.default_rng(0), np.array([0.0, 1.0], np.float32), table)
    assert lost[0] == 0
    assert lost[1] != 0


def test_fluctuations_have_mean_zero():
    assert straggling_table(MEAN, 30.0).mean(1) == pytest.approx(np.zeros(len(LENGTHS)), abs=1e-4)
