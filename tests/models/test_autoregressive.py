"""The autoregressive decoder: likelihood, samples, and that both agree."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from point_sets import toy_jets

from kerasgen.data.jets import COORDINATES
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_normaliser import fit_normaliser
from kerasgen.models.sparse_vae.autoregressive import (
    MIN_STEP,
    STEP_CENTER,
    STEP_DEVIATION,
    AutoregressiveDecoder,
    point_features,
    sample_mixture,
)
from kerasgen.models.sparse_vae.settings import NetworkSettings

JETS = toy_jets(300)
FACTORS = np.random.default_rng(0).uniform(0.5, 1, (len(JETS), 1, 1)) ** [0, 0, 1]
UNEQUAL = replace(JETS, points=(JETS.points * FACTORS).astype(np.float32))  # unequal sums
SETTINGS = NetworkSettings(decoder="autoregressive", width=8, latent_size=2)


def random_decoder(
    coordinates: str = "relative", sets=JETS, total: bool = False
) -> tuple[AutoregressiveDecoder, tuple]:
    """A decoder with random weights, and its inputs for ten sets."""
    normaliser = fit_normaliser(sets, coordinates, coordinates != "cartesian", False, total)
    decoder = AutoregressiveDecoder(SETTINGS, normaliser)
    batch = batch_arrays(sets.take(slice(10)), coordinates)
    points = np.asarray(normaliser.to_network(batch["points"]))
    rng = np.random.default_rng(0)
    latent, condition = (rng.normal(0, 1, (10, k)).astype(np.float32) for k in (2, 1))
    inputs = points, batch["mask"], latent, condition
    decoder(*inputs)
    keras.utils.set_random_seed(0)
    for weight in decoder.trainable_variables:
        weight.assign(weight + rng.normal(0, 0.2, weight.shape))
    return decoder, inputs


def test_likelihood_of_one_point_integrates_to_one():
    sets = JETS.take(slice(None))
    one = type(sets)(sets.points[:, :1], sets.mask[:, :1], sets.label, sets.features)
    decoder, (_, _, latent, condition) = random_decoder(sets=one)
    axis = np.linspace(-12, 12, 49)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 1, 3)
    step = np.exp(grid[..., 2] * STEP_DEVIATION + STEP_CENTER) - MIN_STEP
    inside = step[:, 0] >= 0  # the other numbers mean no decrease at all
    points = np.concatenate([grid[..., :2], decoder.normaliser.high[2] - step[..., None]], -1)
    n = int(inside.sum())
    same = (np.repeat(x[:1], n, axis=0) for x in (latent, condition))
    nll = decoder(points[inside].astype(np.float32), np.ones((n, 1), bool), *same)
    total = np.exp(-np.asarray(nll, np.float64)).sum() * 0.5**3 / (2 * np.pi) ** 1.5
    log_weight, mean, log_std = (
        np.asarray(x)[0, 0]
        for x in decoder.factors(points[:1].astype(np.float32), np.ones((1, 1), bool),
                                 latent[:1], condition[:1])
    )  # fmt: skip
    from scipy.stats import norm

    edge = (np.log(MIN_STEP) - STEP_CENTER) / STEP_DEVIATION
    expected = np.exp(log_weight) @ norm.sf(edge, mean[:, 2], np.exp(log_std[:, 2]))
    assert total == pytest.approx(expected, abs=0.02)


def test_padding_does_not_count():
    decoder, (points, mask, latent, condition) = random_decoder()
    other = np.where(mask[..., None], points, 3.0).astype(np.float32)
    np.testing.assert_array_equal(
        decoder(other, mask, latent, condition), decoder(points, mask, latent, condition)
    )


def test_a_point_depends_only_on_earlier_points():
    decoder, (points, mask, latent, condition) = random_decoder()
    changed = points.copy()
    changed[:, 3] += 0.5
    a, b = (decoder.factors(x, mask, latent, condition)[1].numpy() for x in (points, changed))
    np.testing.assert_array_equal(a[:, :4], b[:, :4])
    assert (a[:, 4:] != b[:, 4:]).any()


@pytest.mark.parametrize(
    ("coordinates", "total"),
    [*((x, False) for x in [*sorted(COORDINATES), "image"]), ("relative", True)],
)
def test_samples_follow_the_likelihood(coordinates: str, total: bool):
    """Conditioned on sampled points, the factors of the likelihood sample them again."""
    decoder, (_, _, latent, condition) = random_decoder(coordinates, UNEQUAL, total)
    low, high = (np.array(x, np.float32) for x in (decoder.normaliser.low, decoder.normaliser.high))
    rng = np.random.default_rng(1)
    uniform = rng.uniform(0, 1, (10, 6)).astype(np.float32)
    normal = rng.normal(0, 0.3, (10, 6, 3)).astype(np.float32)
    mask = np.ones((10, 6), bool)
    sampled = np.asarray(decoder.sample_points(latent, condition, mask, uniform, normal))
    assert ((sampled >= low) & (sampled <= high)).all()
    factors = decoder.factors(sampled, mask, latent, condition)
    again = [
        np.asarray(sample_mixture(*(x[:, k] for x in factors), uniform[:, k], normal[:, k]))
        for k in range(6)
    ]
    targets = np.asarray(decoder.targets(sampled))
    free = ((sampled > low) & (sampled < high)).all(-1)  # not clipped to the range of the data
    if decoder.descends:  # and with a decrease in intensity
        free &= np.diff(sampled[..., 2], axis=1, prepend=high[2]) < 0
    assert free.mean() > 0.3
    np.testing.assert_allclose(np.stack(again, 1)[free], targets[free], atol=2e-2)
    if decoder.descends:
        assert (np.diff(sampled[..., 2], axis=1) <= 0).all()


def test_a_known_sum_gives_the_remainder():
    """It depends on the last latent and on the earlier points only."""
    decoder, (points, mask, latent, condition) = random_decoder(sets=UNEQUAL, total=True)
    assert decoder.context.kernel.shape[0] == random_decoder()[0].context.kernel.shape[0] + 1
    remainder = decoder.context.kernel.numpy()
    remainder[:-1] = 0
    decoder.context.kernel.assign(remainder)
    decoder.base[0].kernel.assign(0 * decoder.base[0].kernel)
    mean = decoder.factors(points, mask, latent, condition)[1].numpy()
    other = latent.copy()
    other[:, 0] += 1
    np.testing.assert_array_equal(decoder.factors(points, mask, other, condition)[1], mean)
    other[:, 1] += 1
    changed = decoder.factors(points, mask, other, condition)[1].numpy()
    assert np.abs(changed - mean).max() > 1e-2


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_nothing_is_left_after_the_last_point(scale: float):
    """Also where one point exceeds the pT of the jet."""
    sets = replace(UNEQUAL, points=UNEQUAL.points * np.float32([1, 1, scale]))
    normaliser = fit_normaliser(sets, "relative", True, False, total=True)
    decoder = AutoregressiveDecoder(replace(SETTINGS, total=True), normaliser)
    batch = batch_arrays(sets, "relative")
    posterior = np.zeros((2, len(sets), 2), np.float32)
    latent, _ = normaliser.with_total(tuple(posterior), batch["points"], batch["mask"])
    weight = point_features(normaliser.to_network(batch["points"]), normaliser)[..., 3].numpy()
    used = np.where(batch["mask"], weight, 0).sum(1)
    np.testing.assert_allclose(decoder.total_weight(latent)[:, 0], used, rtol=1e-2)


def test_points_of_an_image_have_no_order():
    decoder, (points, mask, latent, condition) = random_decoder("image")
    position, count = np.arange(6), mask.sum(axis=1, keepdims=True)
    order = np.where(position < count, count - 1 - position, position)
    reverse = np.take_along_axis(points, order[..., None], axis=1)
    np.testing.assert_allclose(
        decoder(reverse, mask, latent, condition), decoder(points, mask, latent, condition),
        rtol=1e-5,
    )  # fmt: skip


def test_a_cold_sample_is_the_mean_of_the_heaviest_component():
    decoder, (_, _, latent, condition) = random_decoder("cartesian")
    decoder.temperature = 1e-3
    rng = np.random.default_rng(1)
    mask = np.ones((10, 6), bool)
    uniform = rng.uniform(0.01, 0.99, (10, 6)).astype(np.float32)
    normal = rng.normal(0, 1, (10, 6, 3)).astype(np.float32)
    sampled = np.asarray(decoder.sample_points(latent, condition, mask, uniform, normal))
    log_weight, mean, _ = (np.asarray(x) for x in decoder.factors(sampled, mask, latent, condition))
    ahead = np.diff(np.sort(log_weight, axis=-1)[..., -2:])[..., 0]
    assert (ahead > 0.02).mean() > 0.8
    middle = np.take_along_axis(mean, log_weight.argmax(-1)[..., None, None], axis=2)[:, :, 0]
    low, high = (np.array(x, np.float32) for x in (decoder.normaliser.low, decoder.normaliser.high))
    clear = ahead > 0.02
    np.testing.assert_allclose(sampled[clear], np.clip(middle, low, high)[clear], atol=0.02)


def test_components_are_chosen_by_their_weights():
    weights = np.array([0.5, 0.2, 0.3], np.float32)
    n = 1000
    uniform = ((np.arange(n) + 0.5) / n).astype(np.float32)
    mean = np.tile(np.arange(3.0, dtype=np.float32)[None, :, None], (n, 1, 3))
    found = sample_mixture(
        np.log(np.tile(weights, (n, 1))), mean, np.full_like(mean, -6.0), uniform,
        np.zeros((n, 3), np.float32),
    ).numpy()  # fmt: skip
    np.testing.assert_allclose(np.bincount(found[:, 0].astype(int)) / n, weights, atol=2e-3)
