"""The sparse VAE: normaliser, networks, flow, training step, generated rows."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from point_sets import toy_jets
from scipy.stats import norm

from kerasgen.data.jets import COORDINATES
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_generation import normal_quantile
from kerasgen.models.set_normaliser import fit_normaliser, normaliser_from_json
from kerasgen.models.set_signatures import point_numbers, random_words, uniform_numbers
from kerasgen.models.set_statistics import condition_table
from kerasgen.models.sparse_vae import portable_sampling
from kerasgen.models.sparse_vae.flow import Flow
from kerasgen.models.sparse_vae.networks import Decoder, Encoder
from kerasgen.models.sparse_vae.portable_sampling import PortablePointGenerator
from kerasgen.models.sparse_vae.sampling import PointGenerator, latent_seed
from kerasgen.models.sparse_vae.set_networks import TILE
from kerasgen.models.sparse_vae.settings import NetworkSettings, PriorSettings, VAELossSettings
from kerasgen.models.sparse_vae.vae import SparseVAE, mirrored
from kerasgen.training.trainer import compiled_step

SMALL = NetworkSettings(width=8, latent_size=4)
FLOW = PriorSettings("flow", layers=3, width=8, steps=1)
JETS = toy_jets(300)


def toy_vae(
    coordinates: str = "relative",
    network: NetworkSettings = SMALL,
    prior: PriorSettings = FLOW,
    loss: VAELossSettings | None = None,
) -> tuple[SparseVAE, dict]:
    keras.utils.set_random_seed(1)
    normaliser = fit_normaliser(
        JETS, coordinates, coordinates == "relative", network.pt, network.total
    )
    vae = SparseVAE(normaliser, network, prior, loss or VAELossSettings(features=1.0))
    vae.compile(keras.optimizers.Adam(1e-2), keras.optimizers.Adam(1e-2))
    return vae, batch_arrays(JETS, coordinates)


def train(vae: SparseVAE, batch: dict, steps: int = 1) -> dict[str, float]:
    """The loss terms of the last of some steps."""
    step = compiled_step(vae)
    for _ in range(steps):
        terms = step(batch)
    return {name: float(value) for name, value in terms.items()}


@pytest.mark.parametrize("coordinates", sorted(COORDINATES))
def test_normaliser_round_trip(coordinates: str):
    normaliser = fit_normaliser(JETS, coordinates, coordinates == "relative", pt=True)
    assert normaliser_from_json(normaliser.to_json()) == normaliser
    points = batch_arrays(JETS, coordinates)["points"]
    scaled = np.asarray(normaliser.to_network(points))[JETS.mask]
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-3)
    back = np.asarray(normaliser.to_physical(normaliser.to_network(points)))
    np.testing.assert_allclose(back[JETS.mask], points[JETS.mask], rtol=1e-4, atol=1e-3)


def test_the_sum_is_a_normal_number_of_the_latent_vector():
    factor = np.random.default_rng(0).uniform(0.5, 1, (len(JETS), 1, 1)) ** [0, 0, 1]
    sets = replace(JETS, points=(JETS.points * factor).astype(np.float32))
    normaliser = fit_normaliser(sets, "relative", True, pt=False, total=True)
    assert normaliser_from_json(normaliser.to_json()) == normaliser
    batch = batch_arrays(sets, "relative")
    posterior = np.zeros((2, len(JETS), 4), np.float32)
    mean, log_variance = normaliser.with_total(tuple(posterior), batch["points"], batch["mask"])
    np.testing.assert_array_equal(mean[:, :-1], 0)
    np.testing.assert_allclose(log_variance[:, -1], -14)
    quantile = np.sort(mean[:, -1])
    expected = norm.ppf((np.arange(len(quantile)) + 0.5) / len(quantile))
    np.testing.assert_allclose(quantile[5:-5], expected[5:-5], atol=0.1)
    total = np.where(batch["mask"], batch["points"][..., 2], 0).sum(1)
    np.testing.assert_allclose(normaliser.total_of(mean), total, atol=1e-4)
    # A sum beyond those of the training sets counts as the nearest one.
    mean, _ = normaliser.with_total(tuple(posterior), 10 * batch["points"], batch["mask"])
    np.testing.assert_allclose(normaliser.total_of(mean), total.max(), atol=1e-2)


def test_a_sum_that_is_known_is_not_inferred():
    network = replace(SMALL, decoder="autoregressive", total=True)
    loss = VAELossSettings(reconstruction="likelihood")
    vae, batch = toy_vae(network=network, loss=loss)
    mean, log_variance, _ = vae.encode(batch)
    assert vae.divergence(mean, log_variance).shape[1] == network.latent_size - 1
    before = train(vae, batch)["autoencoder/reconstruction"]
    assert train(vae, batch, 10)["autoencoder/reconstruction"] < before


def test_condition():
    normaliser = fit_normaliser(JETS, "relative", False, pt=True)
    pt = np.exp(normaliser.pt[0] + np.array([0.0, normaliser.pt[1]])).astype(np.float32)
    found = np.asarray(normaliser.condition(np.array([0, 1]), np.array([3, 6]), pt))
    np.testing.assert_allclose(found, [[0, 1, 0, 0], [1, 0, 1, 1]], atol=1e-3)
    assert normaliser.condition_size == 4


@pytest.mark.parametrize("variant", ["dense", "set", "conv"])
def test_networks(variant: str):
    settings = NetworkSettings(encoder=variant, decoder=variant, width=8, latent_size=4)
    encoder, decoder = Encoder(settings), Decoder(settings, 6)
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (5, 6, 3)).astype(np.float32)
    mask = np.arange(6) < np.array([1, 2, 3, 6, 6])[:, None]
    condition = rng.normal(0, 1, (5, 2)).astype(np.float32)
    mean, log_variance = encoder(points, mask, condition)
    assert mean.shape == log_variance.shape == (5, 4)
    other = np.where(mask[..., None], points, 7)  # the values of padding must not matter
    np.testing.assert_array_equal(encoder(other, mask, condition)[0], mean)
    assert decoder(mean, condition).shape == (5, 6, 3)
    if variant == "set":  # the order of the points does not matter
        order = np.array([2, 0, 1, 5, 4, 3])
        permuted = encoder(points[:, order], mask[:, order], condition)[0]
        np.testing.assert_allclose(permuted, mean, atol=1e-5)


def test_parameter_counts():
    """The default networks with 30 points and a condition of one number, by hand."""
    settings = NetworkSettings(width=256, layers=2, latent_size=32)
    encoder, decoder = Encoder(settings), Decoder(settings, 30)
    encoder(np.zeros((1, 30, 3), np.float32), np.ones((1, 30), bool), np.zeros((1, 1), np.float32))
    decoder(np.zeros((1, 32), np.float32), np.zeros((1, 1), np.float32))
    hidden = 256 * 256 + 256
    assert encoder.count_params() == (30 * 4 + 1 + 1) * 256 + hidden + 2 * (256 * 32 + 32)
    assert decoder.count_params() == (32 + 1 + 1) * 256 + hidden + 256 * 90 + 90


def random_flow(size: int = 4) -> Flow:
    flow = Flow(size, 4, 8)
    condition = tf.zeros([1, 2])
    flow(tf.zeros([1, size]), condition)
    rng = np.random.default_rng(3)
    for weight in flow.trainable_variables:  # away from the identity
        weight.assign(rng.normal(0, 0.5, weight.shape))
    flow.center.assign(rng.normal(0, 1, size))
    flow.deviation.assign(rng.uniform(0.5, 2, size))
    return flow


def test_flow_round_trip():
    flow, rng = random_flow(), np.random.default_rng(0)
    z = rng.normal(0, 1, (20, 4)).astype(np.float32)
    condition = rng.normal(0, 1, (20, 2)).astype(np.float32)
    normal, _ = flow(z, condition)
    np.testing.assert_allclose(flow.inverse(normal, condition), z, atol=1e-4)


def test_flow_returns_its_log_determinant():
    flow = random_flow()
    z, condition = tf.constant([[0.3, -0.5, 1.0, 0.1]]), tf.constant([[0.2, -1.0]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        normal, log_determinant = flow(z, condition)
    jacobian = tape.batch_jacobian(normal, z)[0].numpy()
    assert float(log_determinant[0]) == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-4)


def test_flow_starts_as_a_normal_distribution():
    flow = Flow(3, 2, 8)
    value = flow.log_probability(tf.zeros([1, 3]), tf.zeros([1, 1]))
    assert float(value[0]) == pytest.approx(-1.5 * np.log(2 * np.pi), abs=1e-5)


@pytest.mark.parametrize(
    ("coordinates", "variant"),
    [("relative", "joint"), ("polar", "position_first"), ("cartesian", "ordered")],
)
def test_training_lowers_the_loss(coordinates: str, variant: str):
    loss = VAELossSettings(variant, beta=0.01, features=1.0, eta=0.1)
    vae, batch = toy_vae(coordinates, loss=loss)
    logs = train(vae, batch)
    before = {name.removeprefix("autoencoder/"): value for name, value in logs.items()}
    assert before["loss"] == pytest.approx(
        before["reconstruction"] + before["kl"] + before["features"], rel=1e-5
    )
    assert train(vae, batch, 60)["autoencoder/loss"] < 0.7 * before["loss"]
    assert int(vae.step) == 61
    report = vae.test_step(batch)
    assert report["kl_per_dimension"].shape == (4,)
    assert 0 <= float(report["collapsed"]) <= 4


def test_flow_stage_trains_only_the_flow():
    vae, batch = toy_vae()
    frozen = [w.numpy() for w in vae.autoencoder_variables]
    vae.stage = "flow"
    before = train(vae, batch)["flow/flow"]
    assert train(vae, batch, 60)["flow/flow"] < before
    for weight, value in zip(vae.autoencoder_variables, frozen, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_likelihood_falls_and_mirrored_jets_are_jets():
    network = NetworkSettings(decoder="autoregressive", width=16, latent_size=4)
    vae, batch = toy_vae(network=network, loss=VAELossSettings("likelihood", 0.1, mirror=True))
    before = train(vae, batch)["autoencoder/reconstruction"]
    after = train(vae, batch, 60)
    assert after["autoencoder/reconstruction"] < before - 3  # nats
    assert set(after) == {f"autoencoder/{name}" for name in ("reconstruction", "kl", "loss")}
    found = np.asarray(mirrored(batch, vae.noise(batch)["mirror"])["points"])
    points = batch["points"]
    np.testing.assert_array_equal(np.abs(found), np.abs(points))
    np.testing.assert_array_equal(found[..., 2], points[..., 2])
    turned = (found[:, 0, :2] != points[:, 0, :2]).mean(axis=0)
    assert ((turned > 0.35) & (turned < 0.65)).all()


def test_beta_warms_up():
    vae, _ = toy_vae(loss=VAELossSettings(beta=2.0, warm_up=10))
    assert float(vae.beta()) == pytest.approx(0.2)
    vae.iterations.assign(30)
    assert float(vae.beta()) == pytest.approx(2.0)


def test_same_seed_same_step():
    weights = []
    for _ in range(2):
        vae, batch = toy_vae()
        train(vae, batch)
        weights.append([w.numpy() for w in vae.autoencoder_variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module", params=["dense", "autoregressive"])
def generator(request: pytest.FixtureRequest) -> PointGenerator:
    network = NetworkSettings(decoder=request.param, width=8, latent_size=4, pt=True)
    loss = VAELossSettings("likelihood" if request.param == "autoregressive" else "joint")
    vae, batch = toy_vae(network=network, loss=loss)
    train(vae, batch, 20)
    return PointGenerator(vae, condition_table(JETS))


def seeds(events: range | list[int], seed: int = 7) -> tf.Tensor:
    return tf.constant([[seed, event] for event in events], tf.int64)


def test_a_row_depends_on_its_seed_alone(generator: PointGenerator):
    whole = generator.generate(seeds(range(2 * TILE + 30)))
    chosen = [0, 5, TILE - 1, TILE, 2 * TILE + 29]
    for rows in (chosen, chosen[::-1], [chosen[3]]):
        part = generator.generate(seeds(rows))
        for name, values in whole.items():
            np.testing.assert_array_equal(part[name], values.numpy()[rows], err_msg=name)
    other = generator.generate(seeds(range(30), seed=8))
    assert (other["points"].numpy() != whole["points"].numpy()[:30]).any()


def test_generated_sets_are_sets(generator: PointGenerator):
    found = {k: v.numpy() for k, v in generator.generate(seeds(range(600))).items()}
    mask = np.arange(6) < found["count"][:, None]
    assert not found["points"][~mask].any()
    assert np.isfinite(found["points"]).all()
    intensity = np.where(mask, found["points"][..., 2], 0)
    assert (intensity >= 0).all()
    assert (np.diff(intensity, axis=1) <= 0).all()


def test_number_of_points_is_that_of_the_data(generator: PointGenerator):
    found = generator.generate_class(seeds(range(2000)), tf.repeat([0, 1], 1000))
    assert found["label"].numpy().tolist() == [0] * 1000 + [1] * 1000
    for label in (0, 1):
        real = np.bincount(JETS.counts[JETS.label == label], minlength=7)
        ours = np.bincount(found["count"].numpy()[label * 1000 :][:1000], minlength=7)
        expected = 1000 * real / real.sum()
        assert (((ours - expected)[2:]) ** 2 / expected[2:]).sum() < 20  # chi^2, 4 degrees


@pytest.mark.parametrize("label", [-1, 2, 9])
def test_an_unknown_class_has_no_points(generator: PointGenerator, label: int):
    found = generator.generate_class(seeds([1, 2]), tf.constant([0, label]))
    assert found["count"].numpy()[0] > 0
    assert found["count"].numpy()[1] == -1
    assert not found["points"].numpy()[1].any()


def test_no_rows(generator: PointGenerator):
    assert generator.generate(tf.zeros([0, 2], tf.int64))["points"].shape == (0, 6, 3)


def test_reconstruction_is_decoded_mean(generator: PointGenerator):
    rest = (
        tf.constant(JETS.counts[:5], tf.int32), tf.constant(JETS.label[:5], tf.int32),
        tf.constant(JETS.features[:5, :2]),
    )  # fmt: skip
    points = tf.constant(JETS.points[:5])
    mean = generator.encode(points, *rest)["mean"]
    whole = generator.reconstruct(points, *rest)["points"]
    np.testing.assert_array_equal(generator.decode(mean, *rest)["points"], whole)


def test_random_numbers_of_every_backend_are_the_same():
    pairs = np.array([[0, 0], [1, -1], [-(2**63), 2**63 - 1], [7, 123456789]])
    words, found = random_words(pairs, 9), portable_sampling.random_words(pairs, 9)
    np.testing.assert_array_equal(found.view(np.int64), words)
    np.testing.assert_array_equal(portable_sampling.point_numbers(found), point_numbers(words))
    latent = np.random.default_rng(0).normal(0, 1, (50, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        portable_sampling.latent_seed(latent).view(np.int64), latent_seed(latent)
    )


def test_portable_generator_makes_the_same_sets(generator: PointGenerator):
    portable = PortablePointGenerator(generator, condition_table(JETS))
    pairs, label = np.array(seeds(range(TILE + 9))), np.arange(TILE + 9, dtype=np.int32) % 5 - 1
    jet, pt = JETS.features[:9, :2], np.linspace(-100, 2000, TILE + 9, dtype=np.float32)
    latent = np.random.default_rng(0).normal(0, 1, (9, 4)).astype(np.float32)
    rest = JETS.counts[:9].astype(np.int32), JETS.label[:9].astype(np.int32), jet
    requests = [
        ("generate", (pairs,)), ("generate_class", (pairs, label)), ("generate_pt", (pairs, pt)),
        ("generate", (pairs[:0],)), ("encode", (JETS.points[:9], *rest)),
        ("decode", (latent, *rest)), ("reconstruct", (JETS.points[:9], *rest)),
    ]  # fmt: skip
    for name, inputs in requests:
        found, expected = getattr(portable, name)(*inputs), getattr(generator, name)(*inputs)
        assert set(found) == set(expected)
        for key, values in expected.items():
            assert found[key].dtype == values.numpy().dtype
            np.testing.assert_allclose(
                found[key], values, rtol=1e-4, atol=1e-5, err_msg=f"{name} {key}"
            )


def test_normal_numbers_are_finite_and_symmetric_to_the_last_word():
    words = tf.constant([0, -1], tf.int64)
    numbers = normal_quantile(uniform_numbers(words, 40)).numpy()
    assert np.isfinite(numbers).all()
    assert numbers[0] == -numbers[1]
    assert abs(numbers[0]) > 5


def test_flow_is_float32_under_every_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        flow = Flow(4, 2, 8)
    finally:
        keras.config.set_dtype_policy("float32")
    z, condition = tf.random.stateless_normal([5, 4], [1, 2]), tf.zeros([5, 1])
    normal, log_determinant = flow(z, condition)
    assert normal.dtype == log_determinant.dtype == tf.float32
    np.testing.assert_allclose(flow.inverse(normal, condition), z, atol=1e-5)


def test_random_numbers_are_normal_and_independent():
    words = random_words(seeds(range(20000)), 3)
    numbers = normal_quantile(uniform_numbers(words, 40)).numpy()
    assert np.isfinite(numbers).all()
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(numbers.std(axis=0), 1, atol=0.03)
    np.testing.assert_allclose(np.corrcoef(numbers.T), np.eye(3), atol=0.03)
    assert abs(np.corrcoef(numbers[1:, 0], numbers[:-1, 0])[0, 1]) < 0.03
