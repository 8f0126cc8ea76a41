"""The decoder that draws points one after another: likelihood, draws, and that both agree."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from point_sets import toy_jets

from kerasgen.data.jets import COORDINATES
from kerasgen.models.sparse_vae.autoregressive import (
    LEAST_STEP,
    STEP_CENTER,
    STEP_SPREAD,
    AutoregressiveDecoder,
    chosen,
    point_features,
)
from kerasgen.models.sparse_vae.batches import batch_arrays
from kerasgen.models.sparse_vae.normaliser import fit_normaliser
from kerasgen.models.sparse_vae.settings import NetworkSettings

JETS = toy_jets(300)
SOME = np.random.default_rng(0).uniform(0.5, 1, (len(JETS), 1, 1)) ** [0, 0, 1]
UNEQUAL = replace(JETS, points=(JETS.points * SOME).astype(np.float32))  # sums of their own
SETTINGS = NetworkSettings(decoder="autoregressive", width=8, latent_size=2)


def random_decoder(
    coordinates: str = "relative", sets=JETS, total: bool = False
) -> tuple[AutoregressiveDecoder, tuple]:
    """A decoder with random weights, and what it takes of ten sets."""
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
    step = np.exp(grid[..., 2] * STEP_SPREAD + STEP_CENTER) - LEAST_STEP
    inside = step[:, 0] >= 0  # the rest of the numbers mean no step at all
    points = np.concatenate([grid[..., :2], decoder.normaliser.high[2] - step[..., None]], -1)
    n = int(inside.sum())
    same = (np.repeat(x[:1], n, axis=0) for x in (latent, condition))
    unlikely = decoder(points[inside].astype(np.float32), np.ones((n, 1), bool), *same)
    total = np.exp(-np.asarray(unlikely, np.float64)).sum() * 0.5**3 / (2 * np.pi) ** 1.5
    log_weight, mean, log_width = (
        np.asarray(x)[0, 0]
        for x in decoder.factors(points[:1].astype(np.float32), np.ones((1, 1), bool),
                                 latent[:1], condition[:1])
    )  # fmt: skip
    from scipy.stats import norm

    edge = (np.log(LEAST_STEP) - STEP_CENTER) / STEP_SPREAD
    expected = np.exp(log_weight) @ norm.sf(edge, mean[:, 2], np.exp(log_width[:, 2]))
    assert total == pytest.approx(expected, abs=0.02)


def test_padding_does_not_count():
    decoder, (points, mask, latent, condition) = random_decoder()
    other = np.where(mask[..., None], points, 3.0).astype(np.float32)
    np.testing.assert_array_equal(
        decoder(other, mask, latent, condition), decoder(points, mask, latent, condition)
    )


def test_a_point_knows_only_those_before_it():
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
def test_draws_are_those_of_the_likelihood(coordinates: str, total: bool):
    """Given the points that were drawn, the factors of the likelihood draw them again."""
    decoder, (_, _, latent, condition) = random_decoder(coordinates, UNEQUAL, total)
    low, high = (np.array(x, np.float32) for x in (decoder.normaliser.low, decoder.normaliser.high))
    rng = np.random.default_rng(1)
    uniform = rng.uniform(0, 1, (10, 6)).astype(np.float32)
    normal = rng.normal(0, 0.3, (10, 6, 3)).astype(np.float32)
    mask = np.ones((10, 6), bool)
    drawn = np.asarray(decoder.draw(latent, condition, mask, uniform, normal))
    assert ((drawn >= low) & (drawn <= high)).all()
    factors = decoder.factors(drawn, mask, latent, condition)
    again = [
        np.asarray(chosen(*(x[:, k] for x in factors), uniform[:, k], normal[:, k]))
        for k in range(6)
    ]
    targets = np.asarray(decoder.targets(drawn))
    free = ((drawn > low) & (drawn < high)).all(-1)  # not stopped at the range of the data
    if decoder.descends:  # nor at no step at all
        free &= np.diff(drawn[..., 2], axis=1, prepend=high[2]) < 0
    assert free.mean() > 0.3
    np.testing.assert_allclose(np.stack(again, 1)[free], targets[free], atol=2e-2)
    if decoder.descends:
        assert (np.diff(drawn[..., 2], axis=1) <= 0).all()


def test_a_known_sum_says_what_is_left():
    """Only the last number of the latent vector, and the points before, tell it."""
    decoder, (points, mask, latent, condition) = random_decoder(sets=UNEQUAL, total=True)
    assert decoder.context.kernel.shape[0] == random_decoder()[0].context.kernel.shape[0] + 1
    left = decoder.context.kernel.numpy()
    left[:-1] = 0
    decoder.context.kernel.assign(left)
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
    """Also where a point has more than the pT of the jet."""
    sets = replace(UNEQUAL, points=UNEQUAL.points * np.float32([1, 1, scale]))
    normaliser = fit_normaliser(sets, "relative", True, False, total=True)
    decoder = AutoregressiveDecoder(replace(SETTINGS, total=True), normaliser)
    batch = batch_arrays(sets, "relative")
    posterior = np.zeros((2, len(sets), 2), np.float32)
    latent, _ = normaliser.with_total(tuple(posterior), batch["points"], batch["mask"])
    weight = point_features(normaliser.to_network(batch["points"]), normaliser)[..., 3].numpy()
    gone = np.where(batch["mask"], weight, 0).sum(1)
    np.testing.assert_allclose(decoder.total(latent)[:, 0], gone, rtol=1e-2)


def test_points_of_a_picture_are_in_no_order():
    decoder, (points, mask, latent, condition) = random_decoder("image")
    place, count = np.arange(6), mask.sum(axis=1, keepdims=True)
    order = np.where(place < count, count - 1 - place, place)
    reverse = np.take_along_axis(points, order[..., None], axis=1)
    np.testing.assert_allclose(
        decoder(reverse, mask, latent, condition), decoder(points, mask, latent, condition),
        rtol=1e-5,
    )  # fmt: skip


def test_a_cold_draw_is_in_the_middle_of_the_heaviest_component():
    decoder, (_, _, latent, condition) = random_decoder("cartesian")
    decoder.temperature = 1e-3
    rng = np.random.default_rng(1)
    mask = np.ones((10, 6), bool)
    uniform = rng.uniform(0.01, 0.99, (10, 6)).astype(np.float32)
    normal = rng.normal(0, 1, (10, 6, 3)).astype(np.float32)
    drawn = np.asarray(decoder.draw(latent, condition, mask, uniform, normal))
    log_weight, mean, _ = (np.asarray(x) for x in decoder.factors(drawn, mask, latent, condition))
    ahead = np.diff(np.sort(log_weight, axis=-1)[..., -2:])[..., 0]
    assert (ahead > 0.02).mean() > 0.8
    middle = np.take_along_axis(mean, log_weight.argmax(-1)[..., None, None], axis=2)[:, :, 0]
    low, high = (np.array(x, np.float32) for x in (decoder.normaliser.low, decoder.normaliser.high))
    clear = ahead > 0.02
    np.testing.assert_allclose(drawn[clear], np.clip(middle, low, high)[clear], atol=0.02)


def test_components_are_chosen_by_their_weights():
    weights = np.array([0.5, 0.2, 0.3], np.float32)
    n = 1000
    uniform = ((np.arange(n) + 0.5) / n).astype(np.float32)
    mean = np.tile(np.arange(3.0, dtype=np.float32)[None, :, None], (n, 1, 3))
    found = chosen(
        np.log(np.tile(weights, (n, 1))), mean, np.full_like(mean, -6.0), uniform,
        np.zeros((n, 3), np.float32),
    ).numpy()  # fmt: skip
    np.testing.assert_allclose(np.bincount(found[:, 0].astype(int)) / n, weights, atol=2e-3)
