"""Flow matching on analytic cases: paths, pairs, solver, and a distribution that is learned."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from flow_steps import FLOW, SEEDS, SETS, batch, build, normaliser, randomness
from scipy.stats import kstest, norm

from kerasgen.data.points import build_point_sets
from kerasgen.errors import InputError
from kerasgen.models.flow_matching import flow_sets
from kerasgen.models.flow_matching.batches import assigned, mirrored
from kerasgen.models.flow_matching.flow_sets import moved
from kerasgen.models.flow_matching.generation import set_generator
from kerasgen.models.flow_matching.model import FlowMatching, times
from kerasgen.models.flow_matching.network import FlowNetworks, VelocityField
from kerasgen.models.flow_matching.portable_sampling import PortableFlowGenerator
from kerasgen.models.flow_matching.settings import NetworkSettings
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_normaliser import fit_normaliser
from kerasgen.models.set_statistics import Fitted, condition_table
from kerasgen.models.set_summary import CENTRES, centres, set_summary
from kerasgen.models.trained import config_from_table
from kerasgen.training.trainer import compiled_step


@pytest.fixture(scope="module")
def fields() -> FlowNetworks:
    return build().fields


@pytest.fixture(scope="module")
def field(fields: FlowNetworks) -> VelocityField:
    return fields.points


def inputs(points: Any, mask: Any) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    size = normaliser().condition_size + len(normaliser().summaries)
    condition = rng.normal(size=(len(points), size)).astype(np.float32)
    place = rng.normal(size=(len(points), CENTRES, 2)).astype(np.float32)
    return points, np.linspace(0, 1, len(points), dtype=np.float32), mask, condition, place


def test_the_loss_of_resting_fields_is_the_mean_square_of_the_paths():
    model = build()
    fields = model.fields
    for layer in (fields.points.head, fields.points.gain, fields.summary.head):
        layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    real, noise = batch(0), randomness(0)
    points = (real["points"] - real["noise"])[real["mask"]]
    summaries = real["summary"] - noise["summary"]
    found = model.train_step(real, noise)
    assert float(found["field/points"]) == pytest.approx(np.mean(points**2), rel=1e-5)
    assert float(found["field/summary"]) == pytest.approx(np.mean(summaries**2), rel=1e-5)


def test_fields_that_know_the_paths_have_no_loss():
    model = build()
    real, noise = batch(0), randomness(0)

    def known(name: str, starts: Any) -> Any:
        def velocity(place: Any, time: Any, *rest: Any) -> Any:
            path = np.asarray(time).reshape(-1, *[1] * (real[name].ndim - 1))
            expected = (1 - path) * starts + path * real[name]
            np.testing.assert_allclose(place, expected, atol=1e-5)
            return real[name] - starts

        return velocity

    model.fields = SimpleNamespace(
        points=known("points", real["noise"]), summary=known("summary", noise["summary"])
    )
    terms = model.terms(real, noise)
    assert {name: float(x) < 1e-10 for name, x in terms.items()} == {
        "points": True,
        "summary": True,
    }


def test_points_know_the_summary_of_their_set(field: VelocityField):
    points = np.ones((1, 3, 3), np.float32)
    arguments = list(inputs(points, np.ones((1, 3), bool)))
    before = np.asarray(field(*arguments))
    arguments[3] = arguments[3] + np.eye(arguments[3].shape[1], dtype=np.float32)[-1]
    assert np.abs(np.asarray(field(*arguments)) - before).max() > 1e-4


def test_times_are_uniform_and_evenly_spread():
    found = np.sort(np.asarray(times(np.float32([0.73]), 8)))
    np.testing.assert_allclose(np.diff(found), 1 / 8, atol=1e-6)
    assert 0 <= found[0] < 1 / 8


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (2, 0.25), (90, 0.9)])
def test_the_average_follows_the_field(step: int, decay: float):
    """By the least of its decay, 0.9, and (1 + k) / (10 + k)."""
    model = build()
    model.iterations.assign(step)
    before = [w.numpy() for w in model.ema.trainable_variables]
    model.train_step(batch(0), randomness(0))
    after, weights = model.ema.trainable_variables, model.fields.trainable_variables
    for mean, old, new in zip(after, before, weights, strict=True):
        np.testing.assert_allclose(mean, decay * old + (1 - decay) * new.numpy(), atol=1e-6)
    assert any((w.numpy() != x).any() for w, x in zip(weights, before, strict=True))


def test_the_field_does_not_know_the_order_of_points(field: VelocityField):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(5, 6, 3)).astype(np.float32)
    mask = np.arange(6) < np.array([6, 4, 1, 5, 6])[:, None]
    order = rng.permutation(6)
    found = np.asarray(field(*inputs(points, mask)))
    other = np.asarray(field(*inputs(points[:, order], mask[:, order])))
    np.testing.assert_allclose(other, found[:, order], atol=1e-5)


def test_padding_moves_no_point(field: VelocityField):
    rng = np.random.default_rng(2)
    points = rng.normal(size=(4, 6, 3)).astype(np.float32)
    mask = np.arange(6) < np.array([3, 1, 5, 6])[:, None]
    found = np.asarray(field(*inputs(points, mask)))
    padded = np.where(mask[..., None], points, 77.0).astype(np.float32)
    other = np.asarray(field(*inputs(padded, mask)))
    np.testing.assert_allclose(other[mask], found[mask], atol=1e-5)
    moved = points.copy()
    moved[0, 2] += 1.0  # a point does move the others
    assert np.abs(np.asarray(field(*inputs(moved, mask)))[0, 0] - found[0, 0]).max() > 1e-4


def test_pairs_have_the_least_sum_of_squares():
    rng = np.random.default_rng(4)
    noise, points = rng.normal(size=(2, 20, 5, 3)).astype(np.float32)
    count = rng.integers(0, 6, 20)
    found = assigned(noise, points, count)
    for row, n in enumerate(count):
        np.testing.assert_array_equal(found[row, n:], noise[row, n:])
        assert sorted(map(tuple, found[row])) == sorted(map(tuple, noise[row]))
        best = min(
            float(np.sum((noise[row, list(order)] - points[row, :n]) ** 2))
            for order in itertools.permutations(range(n))
        )
        assert np.sum((found[row, :n] - points[row, :n]) ** 2) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(("solver", "evaluations", "order"), [("euler", 1, 1), ("midpoint", 2, 2)])
def test_order_of_the_solver(solver: str, evaluations: int, order: int):
    """dx/dt = -2 t x, so that x(1) = x(0) / e."""
    x = keras.ops.ones((1, 2, 3))
    errors = []
    for steps in (8, 16, 32):
        end = moved(x, lambda x, time: -2.0 * time[:, None, None] * x, steps * evaluations, solver)
        errors.append(abs(float(np.asarray(end)[0, 0, 0]) - np.exp(-1)))
    for coarse, fine in itertools.pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.15)


def test_normal_scores_of_coordinates():
    rng = np.random.default_rng(5)
    points = rng.exponential(0.1, (4000, 3, 3))
    points[..., :2] *= rng.choice([-1, 1], (4000, 3, 2))
    points[..., 2] = -np.sort(-points[..., 2], axis=1)
    sets = build_point_sets(points, np.full(4000, 3), np.zeros(4000, int), np.ones((4000, 4)))
    scale = fit_normaliser(sets, "relative", False, False, quantiles=True)
    found = np.asarray(scale.to_network(sets.points))
    for k in range(3):
        assert kstest(found[..., k].ravel(), norm.cdf).pvalue > 1e-3
    # The last quantile is reached to 1e-5 of the rank.
    np.testing.assert_allclose(scale.to_physical(found), sets.points, atol=1e-4, rtol=0.01)
    mirrored = sets.points * np.float32([-1, -1, 1])
    np.testing.assert_allclose(
        scale.to_network(mirrored), found * np.float32([-1, -1, 1]), atol=1e-3
    )
    extreme = np.full((1, 1, 3), 50, np.float32)  # no point beyond those of the training
    assert (np.asarray(scale.to_physical(extreme)) <= np.abs(sets.points).max((0, 1)) + 1e-6).all()


def test_a_mirrored_jet_has_the_summary_of_the_mirrored_jet():
    scale, arrays = normaliser(), batch_arrays(SETS, "relative")
    points, mask = arrays["points"], arrays["mask"]
    sides = np.random.default_rng(0).integers(0, 2, (len(SETS), 2))
    normal = {
        "points": np.asarray(scale.to_network(points)),
        "summary": scale.summary(points, mask),
    }
    found = mirrored(normal, sides)
    turned = points * np.concatenate([1 - 2 * sides, np.ones((len(SETS), 1))], 1)[:, None]
    turned = turned.astype(np.float32)
    again = np.asarray(scale.to_network(turned))
    np.testing.assert_allclose(found["points"][mask], again[mask], atol=2e-3)
    np.testing.assert_allclose(found["summary"], scale.summary(turned, mask), atol=5e-3)
    assert np.abs(found["summary"] - normal["summary"]).max() > 0.1


def test_summaries_are_those_of_the_set():
    scale = normaliser()
    points = np.float32([[[0.1, 0.2, 0.6], [-0.3, 0.0, 0.2], [9, 9, 9]]])
    mask = np.array([[True, True, False]])
    normal = np.asarray(scale.to_network(points))
    found = set_summary(points, mask, normal)[0]
    normal = normal[0, :2]
    place = (0.6 * points[0, 0, :2] + 0.2 * points[0, 1, :2]) / 0.8
    variance = 0.6 * 0.2 / 0.8**2 * (points[0, 0, :2] - points[0, 1, :2]) ** 2
    expected = [[0.8], place, np.log(variance + 1e-6), normal.mean(0), normal.std(0)]
    expected += [points[0, 0, :2], points[0, 1, :2], points[0, 0, :2], [0.75, 0.25]]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-4, atol=1e-5)


def test_centres_are_those_of_the_clusters_in_any_order_of_points():
    rng = np.random.default_rng(0)
    want = np.float32([[0.2, 0.0], [-0.1, 0.1], [0.0, -0.3]])
    places = (want[:, None] + rng.normal(0, 0.01, (3, 4, 2))).reshape(1, 12, 2).astype(np.float32)
    weight = np.repeat([4.0, 2.0, 1.0], 4)[None].astype(np.float32) * rng.uniform(0.9, 1.1, 12)
    for order in (np.arange(12), rng.permutation(12)):
        found, share = centres(places[:, order], weight[:, order])
        np.testing.assert_allclose(found[0], want, atol=0.02)
        np.testing.assert_allclose(share[0], np.array([4, 2, 1]) / 7, atol=0.03)


def test_centres_of_a_summary_are_where_points_are():
    """A point at a centre and the centre have the same normalised place."""
    scale, arrays = normaliser(), batch_arrays(SETS, "relative")
    points, mask = arrays["points"], arrays["mask"]
    summary = scale.summary(points, mask)
    found = np.asarray(scale.centres(summary))
    physical = centres(points[..., :2], points[..., 2] * mask)[0]
    padded = np.concatenate([physical, np.ones((*physical.shape[:2], 1), np.float32)], axis=-1)
    np.testing.assert_allclose(found, np.asarray(scale.to_network(padded))[..., :2], atol=0.02)


def test_points_see_the_centres(field: VelocityField):
    arguments = list(inputs(np.ones((1, 3, 3), np.float32), np.ones((1, 3), bool)))
    before = np.asarray(field(*arguments))
    arguments[4] = arguments[4] + 0.5
    assert np.abs(np.asarray(field(*arguments)) - before).max() > 1e-4


def fitted() -> Fitted:
    return Fitted(normaliser(), condition_table(SETS))


def test_a_row_depends_on_its_seed_alone(monkeypatch: pytest.MonkeyPatch, fields: FlowNetworks):
    monkeypatch.setattr(flow_sets, "TILE", 16)
    generator = set_generator(fields, fitted(), FLOW)
    whole = {k: v.numpy() for k, v in generator.generate(tf.constant(SEEDS)).items()}
    for rows in ([0, 5, 15, 16, 39], [39, 15]):
        part = generator.generate(tf.constant(SEEDS[rows]))
        for name, values in whole.items():
            np.testing.assert_array_equal(part[name], values[rows], err_msg=name)
    mask = np.arange(6) < whole["count"][:, None]
    assert not whole["points"][~mask].any()
    intensity = np.where(mask, whole["points"][..., 2], 0)
    assert (np.diff(intensity, axis=1) <= 0).all()
    assert (intensity[mask] > 0).all()


def test_a_field_that_runs_away_makes_finite_sets():
    fields = build().fields
    head = fields.points.gain
    head.set_weights([np.full_like(w, 50.0) for w in head.get_weights()])
    generator = set_generator(fields, fitted(), FLOW)
    found = generator.generate(tf.constant(SEEDS))
    assert np.isfinite(found["points"]).all()
    first, far = np.ones((1, 1, 3), np.float32), lambda x, time: 1e30 * x
    for solver in ("euler", "midpoint"):
        np.testing.assert_array_equal(np.asarray(moved(first, far, 4, solver)), flow_sets.LARGEST)


def test_portable_sets_are_those_of_the_export(fields: FlowNetworks):
    exported = set_generator(fields, fitted(), FLOW)
    portable = PortableFlowGenerator(fields, fitted(), FLOW)
    label, pt = np.arange(40) % 3 - 1, np.linspace(-100, 2000, 40, dtype=np.float32)
    for name, further in (("generate", []), ("generate_class", [label]), ("generate_pt", [pt])):
        ours = getattr(portable, name)(SEEDS, *further)
        arguments = [tf.constant(SEEDS), *(tf.constant(np.asarray(x)) for x in further)]
        if name == "generate_class":
            arguments[1] = tf.cast(arguments[1], tf.int32)
        for key, value in getattr(exported, name)(*arguments).items():
            np.testing.assert_allclose(ours[key], value, atol=1e-5, err_msg=f"{name} {key}")


@pytest.mark.slow
def test_learns_points_that_depend_on_each_other_and_on_the_class():
    """Two points at equal distances from the origin of the class, in opposite directions."""
    rng = np.random.default_rng(6)
    label = rng.integers(0, 2, 3000)
    radius = np.where(label == 0, 0.1, 0.3) * rng.normal(1, 0.05, 3000)
    angle = rng.uniform(0, 2 * np.pi, 3000)
    place = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points = np.stack([place, -place], axis=1)
    intensity = np.array([0.6, 0.4]) * rng.uniform(0.9, 1.1, (3000, 1))
    points = np.concatenate([points, intensity[..., None]], axis=-1)
    sets = build_point_sets(points, np.full(3000, 2), label, np.ones((3000, 4)))
    scale = fit_normaliser(sets, "relative", False, False, quantiles=True)
    settings = NetworkSettings(width=48, context=48, layers=3)
    keras.utils.set_random_seed(0)
    sizes = scale.condition_size, len(scale.summaries)
    fields = [FlowNetworks(settings, *sizes, dtype="float32") for _ in range(2)]
    model = FlowMatching(scale, *fields, ema_decay=0.98, seed=0)
    model.compile(keras.optimizers.Adam(3e-3))
    step = compiled_step(model)
    step.read_variables()
    for k in range(700):
        rng = np.random.default_rng(k)
        arrays = batch_arrays(sets.take(rng.integers(0, 3000, 128)), "relative")
        summary = scale.summary(arrays["points"], arrays["mask"])
        x = np.asarray(scale.to_network(arrays["points"]))
        noise = assigned(rng.standard_normal(x.shape, np.float32), x, np.full(128, 2))
        step(arrays | {"points": x, "noise": noise, "summary": summary})
    step.write_variables()
    generator = set_generator(model.ema, Fitted(scale, condition_table(sets)), FLOW)
    seeds = tf.constant(np.stack([np.full(2000, 1), np.arange(2000)], axis=-1))
    for name, expected in ((0, 0.1), (1, 0.3)):
        found = generator.generate_class(seeds, tf.fill([2000], name))["points"].numpy()
        distance = np.hypot(found[..., 0], found[..., 1])
        assert np.median(distance) == pytest.approx(expected, rel=0.1)
        # Opposite: the sum of both places is far smaller than either.
        assert np.median(np.hypot(*found[..., :2].sum(axis=1).T)) < 0.35 * expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flow": {"evaluations": 7}}, "flow.evaluations: even"),
        ({"flow": {"mirror": True}, "data": {"coordinates": "polar"}}, "flow.mirror: for data"),
        ({"flow": {"solver": "rk4"}}, "flow.solver"),
        ({"network": {"width": 0}}, "network.width"),
        ({"network": {"width": 64, "heads": 6}}, "network.heads: must divide"),
    ],
)
def test_keys_that_do_not_fit(changes: dict[str, Any], message: str):
    table: dict[str, Any] = {
        "recipe": "x",
        "algorithm": "flow_matching",
        "data": {"source": "digits"},
    }
    with pytest.raises(InputError, match=message):
        config_from_table(table | {k: table.get(k, {}) | v for k, v in changes.items()})
