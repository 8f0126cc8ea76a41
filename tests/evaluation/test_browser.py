"""The report in headless Chromium: what is seen first, what is folded, what is too wide, print."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kerasgen.data.geometry import Geometry, Sensor
from kerasgen.data.hits import Hits, from_dense
from kerasgen.data.store import EventWriter
from kerasgen.zoo.evaluate import main as evaluate_main

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
GEOMETRY = Geometry(
    "small", 24, 40, 7, 255,
    tuple(Sensor(f"{layer}.{k}.1", 10 * layer + k, layer, k) for layer in (1, 2) for k in (1, 2)),
)  # fmt: skip
# A frame is as narrow as it is told; a window of Chromium is at least 500 pixels wide.
FRAME = """<!DOCTYPE html><body style="margin:0"><iframe id="f" width="{width}" height="2000"
style="border:0" src="{page}"></iframe><pre id="told"></pre><script>
window.onerror = (m) => document.getElementById("told").append("ERROR " + m);
document.getElementById("f").onload = (e) => {{
  const page = e.target.contentDocument, root = page.documentElement;
  const box = (x) => {{
    const b = x.getBoundingClientRect();
    return [b.left, b.top, b.right, b.bottom].map(Math.round);
  }};
  const seen = (x) => x.checkVisibility({{contentVisibilityAuto: true}});
  const parts = [...page.querySelectorAll("details")];
  const first = {{
    verdict: box(page.querySelector(".verdict")),
    grid: [...page.querySelectorAll(".grid img")].map(box),
    shown: [...page.images].map(seen),
  }};
  parts.forEach((x) => x.querySelector("summary").click());
  first.opened = parts.map((x) => x.open && [...x.children].every(seen));
  const wide = [...page.querySelectorAll("body *")].filter((x) => !x.closest(".scroll, pre") &&
    x.getBoundingClientRect().right > {width} + 1).map((x) => x.tagName);
  const figures = [...page.images].map((x) => x.complete && x.naturalWidth > 0);
  document.getElementById("told").textContent = JSON.stringify({{width: root.scrollWidth, wide,
    figures, title: page.title, ...first}});
}};</script>"""


def events(n: int, seed: int, shift: int) -> Hits:
    rng = np.random.default_rng(seed)
    size = (n * 4, GEOMETRY.rows, GEOMETRY.cols)
    charge = 7 + shift + np.minimum(rng.exponential(15, size), 200).astype(int)
    images = charge * (rng.random(size) < 0.03)
    return from_dense(images, np.tile(np.arange(4), n), np.repeat(np.arange(n), 4))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything: three files, the bootstrap baseline, tables that are too wide."""
    folder = tmp_path_factory.mktemp("report with a space")
    paths = []
    for k, name in enumerate(("real", "made", "training")):
        paths.append(str(folder / f"{name}.h5"))
        with EventWriter(folder / f"{name}.h5", GEOMETRY, "test") as file:
            file.write(events(20, k, 3 * (name == "made")))
    files = ["--reference", paths[0], "--candidate", paths[1], "--training", paths[2]]
    assert evaluate_main([*files, "--out", str(folder / "out")]) == 0
    return folder / "out" / "report.html"


def chromium(option: str, page: Path) -> subprocess.CompletedProcess:
    """Open a page without a network."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1400,1000", f"--user-data-dir={page.parent / 'profile'}",
        "--virtual-time-budget=10000", option, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def browse(page: Path, width: int) -> tuple[dict, str]:
    """Measure the page at a width; also the standard error of Chromium."""
    frame = page.with_name(f"frame_{width}.html")
    frame.write_text(FRAME.format(width=width, page=page.name))
    done = chromium("--dump-dom", frame)
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stdout[-500:] + done.stderr[-500:]
    return json.loads(told[1].replace("&gt;", ">").replace("&amp;", "&")), done.stderr


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian package: chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_fits_its_window_and_has_no_error(report: Path, width: int) -> None:
    found, errors = browse(report, width)
    assert found["width"] <= width
    assert found["wide"] == []
    assert found["figures"] == [True] * len(found["figures"])
    assert len(found["figures"]) == 7
    assert found["shown"] == [True] * 4 + [False] * 3
    assert found["opened"] == [True] * 5
    assert found["verdict"][3] < 250  # pixels from the top: at once
    (a, b, c, d) = found["grid"]
    assert all(right - left > 300 for left, _, right, _ in found["grid"])
    if width == 1280:
        assert a[1] < 250
        assert a[1] == b[1] < c[1] == d[1]  # two rows
        assert a[0] == c[0] < b[0] == d[0]  # of two
    else:
        assert a[0] == b[0] == c[0] == d[0]
        assert a[3] < b[1] < c[1] < d[1]
    assert found["title"] == "made.h5 against real.h5"
    assert "CONSOLE" not in errors


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian package: chromium)")
def test_folded_parts_are_printed(report: Path) -> None:
    page = report.with_name("printed.html")
    told = """<script>dispatchEvent(new Event("beforeprint"));
    const open = () => [...document.querySelectorAll("details")].map((x) => x.open);
    const during = open();
    dispatchEvent(new Event("afterprint"));
    document.body.innerHTML = `<pre id="told">${JSON.stringify([during, open()])}</pre>`;
    </script></body>"""
    page.write_text(report.read_text().replace("</body>", told))
    done = chromium("--dump-dom", page)
    told = re.search(r'<pre id="told">(.*?)</pre>', done.stdout)
    assert told, done.stdout[-500:] + done.stderr[-500:]
    assert json.loads(told[1]) == [[True] * 5, [False] * 5]


@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed (Debian package: chromium)")
def test_the_browser_sees_what_is_wrong(report: Path) -> None:
    """The check itself: a page that is too wide and has an error is caught."""
    page = report.with_name("bad.html")
    wide = '<div style="width:2000px">x</div><script>nothing.at.all()</script></body>'
    page.write_text(report.read_text().replace("</body>", wide))
    found, errors = browse(page, 390)
    assert found["width"] > 390
    assert "DIV" in found["wide"]
    assert "CONSOLE" in errors
