"""Figures can be drawn of every sample; a person has to look at what they show."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from kerasgen.data.geometry import Geometry, Sensor, load_geometry
from kerasgen.data.hits import Hits, from_dense
from kerasgen.evaluation import hit_figures
from kerasgen.evaluation.figure_style import figure_to_png, figure_to_png_array
from kerasgen.metrics.summary import Summary, summarise

SMALL = Geometry(
    "small", 24, 40, 7, 255,
    tuple(Sensor(f"{layer}.{k}.1", 10 * layer + k, layer, k) for layer in (1, 2) for k in (1, 2)),
)  # fmt: skip
TIMEPIX = load_geometry("timepix")


def events(geometry: Geometry, n: int, seed: int, filled: float = 0.05) -> Hits:
    rng = np.random.default_rng(seed)
    sensors = len(geometry.sensors)
    size = (n * sensors, geometry.rows, geometry.cols)
    charge = np.minimum(geometry.threshold + rng.exponential(60, size), geometry.max_charge)
    images = charge.astype(int) * (rng.random(size) < filled)
    return from_dense(images, np.tile(np.arange(sensors), n), np.repeat(np.arange(n), sensors))


def samples(geometry: Geometry, n: int) -> tuple[Summary, dict[str, Summary]]:
    full, empty = events(geometry, n, 2, 1.0), events(geometry, n, 3, 0.0)
    candidates = {"as real": events(geometry, n, 4), "all fired": full, "no hits": empty}
    return (
        summarise(events(geometry, n, 1), geometry),
        {name: summarise(hits, geometry) for name, hits in candidates.items()},
    )


@pytest.mark.parametrize("geometry", [SMALL, TIMEPIX], ids=lambda g: g.name)
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "make_figure",
    [
        hit_figures.adu_spectrum,
        hit_figures.cluster_distributions,
        hit_figures.cluster_sizes,
        hit_figures.sensor_occupancies,
        hit_figures.occupancy_distribution,
    ],
    ids=lambda f: f.__name__,
)
def test_distributions_of_any_sample(make_figure, n: int, geometry: Geometry) -> None:
    reference, candidates = samples(geometry, n)
    figure = make_figure(reference, candidates)
    labels = {text.get_text() for ax in figure.axes for text in legend_texts(ax)}
    assert labels == {"real", "as real", "all fired", "no hits"}
    assert rendered(figure).std() > 0


def legend_texts(ax):
    return ax.get_legend().get_texts() if ax.get_legend() else []


def rendered(figure: Figure) -> np.ndarray:
    image = figure_to_png_array(figure)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    return image


@pytest.mark.parametrize(
    "geometry", [TIMEPIX, load_geometry("belle2-pxd").select(["1.1.1"])], ids=lambda g: g.name
)
def test_every_lone_hit_of_the_whole_sensor_is_visible(geometry: Geometry) -> None:
    """As many spots appear in the panel of the whole sensor as there are hits."""
    image = np.zeros((1, geometry.rows, geometry.cols), int)
    one = np.zeros(1, int)
    n = 30
    row = np.linspace(2, geometry.rows - 3, n).astype(int)
    col = np.random.default_rng(0).permutation(geometry.cols // 8)[:n] * 8 + np.arange(n) % 8
    image[0, row, col] = geometry.max_charge
    spots = []
    real = from_dense(image, one, one)
    for hits in (real, from_dense(0 * image, one, one)):
        figure = hit_figures.hit_maps(real, hits, geometry)
        whole = rendered(figure).astype(int)
        box = figure.axes[1].get_window_extent()
        spots.append(whole[int(-box.y1) : int(-box.y0), int(box.x0) + 1 : int(box.x1)])
    lit, blank = spots
    assert ndimage.label(np.abs(lit - blank).sum(axis=2) > 60, np.ones((3, 3)))[1] == n


def test_the_shown_sensors_and_their_occupancy_are_named() -> None:
    hits = events(SMALL, 1, 1)
    figure = hit_figures.hit_maps(hits, hits, SMALL, "calibrated")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    fired = 100 * hits.counts[1] / SMALL.pixels
    assert f"real, sensor 1.2.1\n{fired:.2f} % fired" in titles
    assert f"calibrated, sensor 1.2.1\n{fired:.2f} % fired" in titles
    assert any(t.startswith("real, part of 2.2.1") for t in titles)


def test_png_file_and_array_are_the_same_image() -> None:
    reference, candidates = samples(SMALL, 3)
    figure = hit_figures.occupancy_distribution(reference, candidates)
    png = figure_to_png(figure)
    assert png == figure_to_png(figure)
    file = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert np.abs(file.astype(int) - rendered(figure)).max() <= 1
