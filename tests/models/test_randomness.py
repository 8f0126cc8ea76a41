"""Random numbers: the same for the same seed everywhere, and different otherwise."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from kerasgen.backend.engine import CompiledStep, normal, uniform
from kerasgen.backend.random_numbers import STREAMS, image_inputs, key_of
from kerasgen.backend.seeds import mixed
from kerasgen.models.pxd_gan.sampling import normal_at

INT64 = st.integers(-(2**63), 2**63 - 1)


def split_mix(x: int) -> int:
    """The finaliser of SplitMix64 (variant 13 of Stafford) on Python integers."""
    x %= 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    x ^= x >> 31
    return x - 2**64 if x >= 2**63 else x


def test_reference_value():
    # First number of SplitMix64 from seed 0: its state is the golden gamma by then.
    assert split_mix(0x9E3779B97F4A7C15) % 2**64 == 0xE220A8397B1DCDAF


@given(st.lists(INT64, min_size=1, max_size=50))
def test_mixed_is_split_mix(values: list[int]):
    assert mixed(tf.constant(values, tf.int64)).numpy().tolist() == [split_mix(x) for x in values]


@pytest.mark.parametrize("jit", [False, True])
def test_graph_and_xla_mix_the_same_bits(jit: bool):
    x = tf.constant([0, 1, -1, 2**62 + 12345, -(2**63)], tf.int64)
    compiled = tf.function(mixed, jit_compile=jit)
    np.testing.assert_array_equal(compiled(x), mixed(x))


def step_numbers(step) -> tuple[tf.Tensor, tf.Tensor]:
    key = key_of(3, step, "discriminator", 1)
    return normal(key, [2, 5, 3], 1), uniform(key, [2, 50])


def test_a_compiled_step_draws_the_numbers_of_eager():
    compiled = CompiledStep(step_numbers, [])
    compiled.read_variables()
    for step in (0, 17):
        found, expected = compiled(np.int32(step)), step_numbers(tf.constant(step))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_numbers_at_indices_are_normal_and_independent():
    seed = tf.constant([5, -7], tf.int64)
    numbers = normal_at(seed, tf.range(20_000, dtype=tf.int64)).numpy()
    assert kstest(numbers, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.03
    np.testing.assert_array_equal(normal_at(seed, tf.constant([17, 3], tf.int64)), numbers[[17, 3]])
    assert not np.isin(normal_at(seed + 1, tf.range(100, dtype=tf.int64)), numbers).any()


def test_every_use_has_its_own_numbers():
    seeds = {
        tuple(key_of(run, step, stream, part).numpy().tolist())
        for run, step, stream, part in itertools.product(
            (0, 1, 2, 1000), (0, 1, 2, 255, 256, 60000), STREAMS, (0, 1, 4)
        )
    }
    assert len(seeds) == 4 * 6 * len(STREAMS) * 3
    assert len({float(normal(tf.constant(s, tf.int64), [])) for s in list(seeds)[:40]}) == 40


def test_streams_have_different_numbers():
    assert len(set(STREAMS.values())) == len(STREAMS)
    assert max(STREAMS.values()) < 16  # a run seed owns sixteen numbers


@pytest.mark.parametrize("seed", [2**31, 2**59, 2**63 - 1])
def test_large_run_seeds_work(seed: int):
    assert key_of(seed, 0, "discriminator").shape == (2,)


def test_numbers_are_standard_normal():
    x = normal(key_of(0, 0, "start"), [20000]).numpy()
    assert x.dtype == np.float32
    assert abs(x.mean()) < 4 / np.sqrt(20000)
    assert x.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * 20000))


def test_uniform_numbers_are_below_one():
    x = uniform(key_of(0, 0, "shift"), [20000]).numpy()
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() < 1
    assert kstest(x, "uniform").pvalue > 1e-3


def test_inputs_of_a_batch():
    generator = SimpleNamespace(latent_size=4, noise_shape=lambda size: (size[0] // 4, 3, 2))
    latent, noise = image_inputs(key_of(0, 0, "discriminator"), generator, (16, 48), 5)
    assert latent.shape == (5, 4)
    assert noise.shape == (5, 4, 3, 2)
    flat = np.concatenate([np.ravel(latent), np.ravel(noise)])
    assert len(np.unique(flat)) == flat.size
