"""A cache that cannot be written: the variable that moves it is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kerasgen.data.cache import cache_folder
from kerasgen.data.pixel_source import event_file
from kerasgen.data.point_source import PointDataSettings, point_file
from kerasgen.data.simulators import write_jets
from kerasgen.errors import RunFailure


def simulate_pixels(out: Path) -> None:
    event_file("simulate:pxd", 5, 1)


def build_digits(out: Path) -> None:
    point_file(PointDataSettings(source="digits"))


def simulate_jets(out: Path) -> None:
    write_jets(out, ["gluon"], 10, 5, 1)


@pytest.mark.parametrize("use", [simulate_pixels, build_digits, simulate_jets])
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none"])
def test_a_cache_that_cannot_be_made(
    use: Callable[[Path], None], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if use is simulate_jets:
        pytest.importorskip("pythia8mc")
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / place))
    folder = cache_folder()
    with pytest.raises(RunFailure, match="KERASGEN_CACHE names another folder") as refused:
        use(tmp_path / "x.h5")
    assert str(refused.value).startswith(str(folder))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_cache_of_a_home_that_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").touch()
    for name in ("KERASGEN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(RunFailure, match="KERASGEN_CACHE"):
        simulate_pixels(tmp_path / "x.h5")
