"""States of clusters that grow: what the network sees, which tokens are possible, lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from growth_events import SIZE, random_events, random_network, states
from numpy.typing import NDArray

from kerasgen.models.cluster_growth import lanes
from kerasgen.models.cluster_growth import numpy_functions as xp
from kerasgen.models.cluster_growth.activity import ACTIVITY
from kerasgen.models.cluster_growth.growth import (
    LINKS,
    NOTHING,
    OFFSETS,
)
from kerasgen.models.cluster_growth.images import of_last_attempt
from kerasgen.models.cluster_growth.network import (
    ClusterNetwork,
    cases,
    head_pixel,
    latest_pixels,
)
from kerasgen.models.cluster_growth.plan import (
    PARTS,
    PIXELS,
    PLANS,
    plans_of,
)
from kerasgen.models.cluster_growth.surroundings import (
    LINKED,
    earlier_heads,
    linked_pixels,
    possible_tokens,
    surroundings,
)


@pytest.fixture(scope="module")
def network() -> ClusterNetwork:
    return random_network()


def test_clusters_have_their_planned_pixels_rows_and_columns(network: ClusterNetwork) -> None:
    rng = np.random.default_rng(3)
    n = 200
    size = rng.integers(2, 10, n)
    rows, columns = rng.integers(5, 14, (2, n))
    gaps, tilt = rng.integers(0, 10, (2, n))
    numbers = np.stack([rows, columns, size, gaps + 1], 1)
    plan = np.column_stack([numbers - 1, tilt, 0 * tilt, numbers]).astype(
        np.int32
    )  # classes, numbers
    first = np.tile([20, 10], (n + 1, 1)).astype(np.int32)
    start: Any = {"sensor": np.zeros(n + 1, np.int32), "first": first}
    start |= {
        "level": np.full(n + 1, 0.5, np.float32),
        "activity": np.zeros((n + 1, ACTIVITY), np.float32),
    }
    start["plan"] = np.pad(plan, [(0, 1), (0, 0)])
    added = last_attempts(network, start, rng)
    begins = np.stack([np.arange(n), *first[:n].T], 1)
    cluster, row, col = np.concatenate([begins, added[:, :3]]).astype(int).T
    pixels = np.bincount(cluster)
    whole = pixels == plan[:, PIXELS]  # others found no place within their plan
    assert whole[gaps >= size - 1].mean() > 0.9
    assert (pixels <= plan[:, PIXELS]).all()
    for axis, place in enumerate((row, col)):
        extent = [np.ptp(place[cluster == k]) + 1 for k in range(n)]
        assert (extent <= numbers[:, axis]).all()
    for k in range(n):
        u, v = row[cluster == k], col[cluster == k]
        away = np.maximum(abs(u[:, None] - u), abs(v[:, None] - v))
        alone = [not (away[i, :i] <= 1).any() for i in range(1, len(u))]
        assert sum(alone) <= gaps[k]


def last_attempts(network: ClusterNetwork, start: Any, rng: Any) -> NDArray[np.float32]:
    """The added pixels of all clusters, grown with random numbers."""
    now: Any = lanes.first_lanes(network, start)
    n, found = len(start["level"]) - 1, []
    while (np.asarray(now["cluster"]) < n).any():
        now, added = lanes.grow(network, start, now, rng.random((lanes.LANES[0], 3), np.float32))
        found.append(np.asarray(added))
    added = np.concatenate(found)
    return of_last_attempt(xp, n, added[added[:, 0] >= 0])


def test_a_cluster_that_is_smaller_than_planned_begins_again(monkeypatch) -> None:
    """From its first pixel, with other random numbers; of its attempts one is left."""
    n, network = 300, random_network()
    plan = np.zeros((n + 1, PARTS + 4), np.int32)
    plan[:, PARTS:] = 3, 3, 4, 1  # rows, columns, pixels, gaps + 1
    plan[:, :3] = plan[:, PARTS : PARTS + 3] - 1
    start: Any = {
        "sensor": np.zeros(n + 1, np.int32), "plan": plan,
        "first": np.tile([20, 10], (n + 1, 1)).astype(np.int32),
        "level": np.full(n + 1, 0.5, np.float32),
        "activity": np.zeros((n + 1, ACTIVITY), np.float32),
    }  # fmt: skip
    lost = {}
    for attempts in (1, lanes.ATTEMPTS):
        monkeypatch.setattr(lanes, "ATTEMPTS", attempts)
        added = last_attempts(network, start, np.random.default_rng(5))
        assert set(added[:, 4]) == set(range(attempts))
        cluster, place = added[:, 0].astype(int), added[:, 1:3].astype(int)
        assert (np.bincount(cluster, minlength=n) <= 3).all()  # beside the first
        extent = np.zeros((n, 2), int)
        for k in range(n):
            extent[k] = np.ptp(np.vstack([place[cluster == k], [20, 10]]), 0) + 1
        lost[attempts] = np.mean((extent < 3).any(1))
    assert 0.1 < lost[1] < 0.9
    assert lost[lanes.ATTEMPTS] < 0.8 * lost[1]


def test_the_last_attempt_that_added_a_pixel_is_left() -> None:
    # cluster, row, column, level, attempt; cluster 1 added nothing at its last attempt
    added = [(0, 1, 1, 0.5, 0), (1, 2, 2, 0.5, 0), (0, 3, 3, 0.5, 1), (0, 4, 4, 0.5, 1)]
    left = of_last_attempt(xp, 3, np.array(added, np.float32))
    assert left[:, 1].tolist() == [2, 3, 4]


def test_every_token_of_the_data_is_possible_and_no_pixel_is_added_twice() -> None:
    *_, steps, state = states(random_events(), 64)
    view = surroundings(state)
    around = np.asarray(view)[:, LINKED]
    earlier = earlier_heads(view)
    left_out = np.asarray(linked_pixels(earlier)) > 0
    assert (left_out & (around == 0)).any()
    possible = np.asarray(possible_tokens(state, view, earlier, SIZE))
    assert possible[np.arange(len(steps)), steps.token].all()
    assert (around != 0).any()
    for start in (0, LINKS):
        adds = possible[:, start : start + LINKS]
        assert not (adds & (around != 0)).any()
        assert not (adds & left_out).any()
        assert not (adds & (np.arange(LINKS) <= steps.last[:, None])).any()


def test_the_view_is_the_image_of_the_cluster_around_the_head() -> None:
    clusters, level, steps, state = states(random_events(), 64)
    view = np.asarray(surroundings(state)).reshape(-1, 11, 11)
    for row in range(0, len(steps), 37):
        image = np.zeros((SIZE[0] + 10, SIZE[1] + 10))
        known = np.arange(steps.first[row], steps.end[row])
        at = clusters.row[known] + 5, clusters.col[known] + 5
        image[at] = (0.5 + level[known]) * np.where(known < steps.head[row], -1, 1)
        u, v = clusters.row[steps.head[row]], clusters.col[steps.head[row]]
        np.testing.assert_allclose(view[row], image[u : u + 11, v : v + 11], rtol=1e-6)


def test_cases_number_the_patterns_around_the_head_its_charge_and_the_link_before() -> None:
    *_, state = states(random_events(), 64)
    around = np.asarray(surroundings(state))[:, LINKED]
    found = np.asarray(cases(state, around))
    bits = (around != 0).reshape(-1, 3, 8) @ (1 << np.arange(8))
    np.testing.assert_array_equal(found[:, :3] - 256 * np.arange(3), bits)
    charge = np.floor(64 * np.asarray(head_pixel(state))[:, 2]).clip(0, 63)
    np.testing.assert_array_equal(found[:, 3], 768 + charge)
    np.testing.assert_array_equal(found[:, 4], 768 + 64 + 1 + state["last"])
    of_plan = 768 + 64 + LINKS + 1 + PLANS * np.arange(PARTS)
    np.testing.assert_array_equal(found[:, 5:], of_plan + state["plan"][:, :PARTS])


def test_lanes_pass_through_the_states_of_the_training() -> None:
    """The tokens of real clusters, forced on lanes, lead to the states that were trained on."""
    recent = 8
    clusters, level, steps, state = states(random_events(), recent)
    order = np.lexsort((steps.end, steps.head, steps.first))
    begins = np.unique(steps.first)[:80]
    rows = [order[steps.first[order] == b] for b in begins]
    assert state["known"].max() > recent  # some pixels are forgotten
    start: dict[str, Any] = {
        "sensor": np.zeros(len(begins) + 1, np.int32),
        "first": np.stack([clusters.row[begins], clusters.col[begins]], 1).astype(np.int32),
        "level": level[begins],
        "activity": np.zeros((len(begins) + 1, ACTIVITY), np.float32),
        "plan": np.pad(plans_of(clusters, recent), [(0, 1), (0, 0)]).astype(np.int32),
    }
    numbers = np.flatnonzero(clusters.is_first).searchsorted(begins)
    start["plan"] = start["plan"][np.append(numbers, -1)]
    start["first"] = np.pad(start["first"], [(0, 1), (0, 0)])
    start["level"] = np.pad(start["level"], [(0, 1)])
    made = ClusterNetwork(3, SIZE, width=8, layers=0, recent=recent)
    now: Any = lanes.first_lanes(made, start)
    checked = 0
    for step in range(max(len(r) for r in rows)):
        here = [(lane, r[step]) for lane, r in enumerate(rows) if step < len(r)]
        lane, at = np.array(here).T
        for name in ("first", "head", "last", "known", "done", "low", "high", "plan", "gaps"):
            expected = state[name][at]
            np.testing.assert_array_equal(np.asarray(now[name])[lane], expected, err_msg=name)
        np.testing.assert_allclose(
            np.asarray(now["sums"])[lane], state["sums"][at], rtol=1e-4, atol=1e-5
        )
        ours = {name: np.asarray(now[name])[lane] for name in state if name in now}
        theirs = {name: x[at] for name, x in state.items()}
        for part in (surroundings, latest_pixels, head_pixel):
            np.testing.assert_allclose(part(ours), part(theirs), rtol=1e-5, atol=1e-6)
        token, value = (np.zeros(lanes.LANES[0], t) for t in (np.int32, np.float32))
        token[:] = NOTHING
        token[lane] = steps.token[at]
        value[lane] = level[np.minimum(steps.end[at], len(level) - 1)]
        place = lanes.place_of(now, token)
        now = lanes.after_token(now, start, token, place, value)
        checked += len(lane)
    assert checked > 200


def test_tokens_are_drawn_with_the_probabilities_of_their_temperature(
    network: ClusterNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = lanes.LANES[0]
    start: dict[str, Any] = {
        "sensor": np.zeros(count + 1, np.int32),
        "activity": np.zeros((count + 1, ACTIVITY), np.float32),
        "first": np.full((count + 1, 2), 20, np.int32),
        "level": np.full(count + 1, 0.5, np.float32),
        "plan": np.tile(np.array([2, 2, 4, 0, 8, 0, 3, 3, 5, 1], np.int32), (count + 1, 1)),
    }
    now: Any = lanes.first_lanes(network, start)
    logits = np.asarray(network(now)[0], np.float64)[0]
    numbers = np.tile((np.arange(count, dtype=np.float32)[:, None] + 0.5) / count, 3)
    for temperature in (1.0, 0.5):
        monkeypatch.setattr(network, "temperature", temperature)
        added = np.asarray(lanes.grow(network, start, now, numbers)[1])
        weight = np.exp((logits - logits.max()) / temperature)[:NOTHING]
        expected = weight.reshape(2, LINKS).sum(0) / weight.sum()
        places = [(added[:, 1:3] == 20 + offset).all(1).mean() for offset in OFFSETS]
        np.testing.assert_allclose(places, expected, atol=2 / count)


def test_few_lanes_have_the_bits_of_many_in_any_order() -> None:
    """A cluster may grow in either, as the other clusters want."""
    made = ClusterNetwork(3, SIZE, width=160, layers=2, recent=32)
    *_, state = states(random_events(60), 32)
    most = lanes.LANES[0]
    state = {name: x[:most] for name, x in state.items()}
    assert len(state["token"]) == most
    rng = np.random.default_rng(1)
    made.token.kernel.assign(rng.normal(size=made.token.kernel.shape))

    def logits(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        part = {name: x[rows] for name, x in state.items()}
        found, hidden = made(part)
        return np.concatenate([found, made.charge_logits(hidden, part["token"])], 1)

    expected = logits(np.arange(most))
    order = rng.permutation(most)
    np.testing.assert_array_equal(logits(order), expected[order])
    for few in lanes.LANES[1:]:
        for part in np.split(order, most // few):
            np.testing.assert_array_equal(logits(part), expected[part])
