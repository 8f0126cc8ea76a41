import numpy as np
import pytest
from columns import column_edge

from kerasgen.data.geometry import load_geometry
from kerasgen.data.simulation.detector import build_detector, column_position
from kerasgen.errors import InputError

GEOMETRY = load_geometry("belle2-pxd")
DETECTOR = build_detector(GEOMETRY)


@pytest.mark.parametrize("name", ["1.1.1", "1.3.2", "2.1.1", "2.12.2"])
def test_every_column_maps_to_its_position_and_back(name):
    sensor = np.full(768, GEOMETRY.index_of_name[name])
    columns = np.arange(768)
    centre = column_edge(DETECTOR, sensor, columns + 0.5)
    assert np.array_equal(np.floor(column_position(DETECTOR, sensor, centre)), columns)
    low, high = (column_edge(DETECTOR, sensor, columns + k) for k in (0.0, 1.0))
    assert high - low == pytest.approx(np.diff(np.append(low, high[-1])))
    pitches = {"1": (60.0, 55.0), "2": (85.0, 70.0)}[name[0]]
    assert high - low == pytest.approx(np.repeat(pitches, (512, 256)))


def test_columns_fill_the_active_length():
    everywhere = np.arange(40)
    assert column_edge(DETECTOR, everywhere, np.full(40, 768.0)) == pytest.approx(DETECTOR.length)
    assert DETECTOR.length == pytest.approx(np.repeat([44800.0, 61440.0], (16, 24)))
    assert DETECTOR.width == 12500.0


def test_column_0_is_at_the_outer_end_on_both_sides():
    forward, backward = GEOMETRY.index_of_name["1.1.1"], GEOMETRY.index_of_name["1.1.2"]
    assert DETECTOR.forward[forward]
    assert not DETECTOR.forward[backward]
    assert DETECTOR.z_high[forward] == pytest.approx(59.2255)
    assert DETECTOR.z_low[backward] == pytest.approx(-31.2255)


def test_ladders_cover_the_whole_azimuth():
    for layer, ladders in (("1", slice(0, 8)), ("2", slice(8, 20))):
        low = np.arctan2(DETECTOR.u_low[ladders], DETECTOR.distance[ladders])
        high = np.arctan2(DETECTOR.u_high[ladders], DETECTOR.distance[ladders])
        start, stop = DETECTOR.phi[ladders] + low, DETECTOR.phi[ladders] + high
        assert (stop > np.append(start[1:], start[0] + 2 * np.pi)).all(), layer


def test_a_geometry_without_silicon_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"'timepix' cannot be simulated.*belle2-pxd") as error:
        build_detector(load_geometry("timepix"))
    assert "\n" not in str(error.value)


def test_some_sensors_of_the_detector_are_a_detector():
    few = build_detector(GEOMETRY.select(["1.2.2", "2.3.1"]))
    assert few.ladder.tolist() == [0, 1]
    assert few.z_low == pytest.approx([-31.2255, 19.4105])
