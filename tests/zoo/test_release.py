"""Released weights in 16 bit; cards and README that agree with recorded metrics."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from toy_run import write_toy_run

import kerasgen
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.evaluation import cards
from kerasgen.kinds.points import POINTS
from kerasgen.zoo import fp16_weights, release
from kerasgen.zoo.catalogue import zoo_folder
from kerasgen.zoo.lookup import released

ROOT = Path(__file__).parents[2]
RELEASED = sorted(released())


def test_the_zoo_is_not_empty() -> None:
    assert "pxd_biggan" in RELEASED


@pytest.mark.parametrize(
    ("document", "results"),
    [("README.md", cards.results_table), ("docs/results.md", cards.results_section)],
)
def test_documents_have_the_recorded_results(document: str, results: Callable[..., str]) -> None:
    """Fails when a table and metrics.json disagree: ``python -m kerasgen.zoo.release`` mends it."""
    text = (ROOT / document).read_text("utf-8")
    records = cards.recorded_metrics(zoo_folder())
    assert cards.between_markers(text, results(records), document) == text
    metrics = records["pxd_biggan"]["candidates"]["calibrated"]["metrics"]
    metrics["occupancy_per_sensor"]["value"] += 1
    assert results({"pxd_biggan": records["pxd_biggan"]}) not in text


def test_the_readme_has_one_row_per_released_model() -> None:
    table = cards.results_table(cards.recorded_metrics(zoo_folder())).splitlines()[2:]
    assert next(row.split("`")[1] for row in table) == "pxd_biggan"  # published numbers first
    assert sorted(row.split("`")[1] for row in table) == RELEASED
    assert all(row.count("<br>") == 3 for row in table)  # two metrics, values and floors


def test_the_documents_are_written_again(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    shutil.copytree(zoo_folder(), zoo, ignore=shutil.ignore_patterns("*.png", "*.h5", "*.npz"))
    release.renew(zoo, tmp_path)  # without documents: beside an installed wheel
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/results.md"):
        text = (ROOT / name).read_text("utf-8")
        (tmp_path / name).write_text(cards.between_markers(text, "old", name))
    release.renew(zoo, tmp_path)
    for name in ("README.md", "docs/results.md"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


@pytest.mark.parametrize("name", RELEASED)
def test_card_has_the_recorded_results_and_what_only_people_know(name: str) -> None:
    folder = zoo_folder() / name
    text = (folder / "README.md").read_text("utf-8")
    record = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert cards.between_markers(text, cards.model_card(record), name) == text
    assert cards.UNWRITTEN not in text
    for heading in ("## What it is for, and what not", "## Known failures", "## What was tried"):
        assert heading in text
    figures = {"training.png", *record["figures"]}
    assert {p.name for p in folder.glob("*.png")} == figures
    for file, digest in record["weights"]["sha256"].items():
        assert checksum(folder / file) == digest, file
    assert record["weights"]["bytes"] <= fp16_weights.MAX_BYTES


@pytest.mark.parametrize("name", RELEASED)
def test_events_right_after_installation(name: str, tmp_path: Path) -> None:
    """In Python; ``tests/examples/test_documents.py`` has the commands."""
    model = kerasgen.load(name)
    points = model.algorithm.kind is POINTS
    events = kerasgen.generate(model, events=40 if points else 2, seed=7)  # point sets are small
    if not points:
        assert events.event.tolist() == [0] * 40 + [1] * 40
        assert 0.007 < len(events.adu) / (len(events) * 250 * 768) < 0.011
    kerasgen.plot(model, events).savefig(tmp_path / "events.png")
    assert (tmp_path / "events.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="events = 0, at least 1"):
        kerasgen.generate(model, events=0)


def test_importing_kerasgen_imports_nothing_else() -> None:
    code = (
        "import sys, kerasgen; assert not {'numpy', 'keras', 'tensorflow'} & set(sys.modules);"
        "assert callable(kerasgen.load) and 'tensorflow' not in sys.modules; kerasgen.lode"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "module 'kerasgen' has no attribute 'lode'" in done.stderr


def write_weights(path: Path, **arrays: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(f"layers/{name}/vars/0", data=values).attrs["name"] = name


def test_matrices_are_rounded_to_16_bit_and_vectors_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(3, 3, 8, 8)), rng.normal(size=8)
    write_weights(tmp_path / "a.h5", kernel=np.float32(kernel), bias=np.float32(bias))
    fp16_weights.write_fp16(tmp_path / "a.h5", tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5") as file:
        found = {name: file[f"layers/{name}/vars/0"] for name in ("kernel", "bias")}
        assert found["kernel"].dtype == np.float16
        np.testing.assert_allclose(found["kernel"][()], kernel, rtol=2**-11, atol=1e-7)
        np.testing.assert_array_equal(found["bias"][()], np.float32(bias))
        assert found["kernel"].attrs["name"] == "kernel"


def test_weights_that_cannot_be_released(tmp_path: Path, monkeypatch) -> None:
    write_weights(tmp_path / "a.h5", kernel=np.full((2, 2), 1e5, np.float32))
    with pytest.raises(InputError, match="layers/kernel/vars/0 is beyond the range of 16 bit"):
        fp16_weights.write_fp16(tmp_path / "a.h5", tmp_path / "b.h5")
    write_weights(tmp_path / "a.h5", kernel=np.ones((100, 100), np.float32))
    monkeypatch.setattr(fp16_weights, "MAX_BYTES", 10_000)
    with pytest.raises(InputError, match=r"MB in 16 bit, allowed: 0\.01 MB"):
        fp16_weights.write_fp16(tmp_path / "a.h5", tmp_path / "b.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_an_unfinished_run_is_refused_and_leaves_the_zoo_alone(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    shutil.copytree(zoo_folder(), zoo, ignore=shutil.ignore_patterns("*.png"))
    before = {p: p.read_bytes() for p in zoo.rglob("*") if p.is_file()}
    run = write_toy_run(tmp_path / "toy-1")
    with pytest.raises(InputError, match=r"has no report/metrics.json yet, finish it with: train"):
        release.main([str(run), "--zoo", str(zoo)])
    (run / "report").mkdir()
    (run / "report" / "metrics.json").write_text('{"config": null}')
    with pytest.raises(InputError, match="has no exported model yet"):
        release.main([str(run), "--zoo", str(zoo)])
    (run / "exported" / "toy" / "1").mkdir(parents=True)
    (run / "exported" / "toy" / "1" / "saved_model.pb").touch()
    with pytest.raises(InputError, match="is of another configuration"):
        release.main([str(run), "--zoo", str(zoo)])
    with pytest.raises(InputError, match="no run folder"):
        release.main([str(tmp_path), "--zoo", str(zoo)])
    assert {p: p.read_bytes() for p in zoo.rglob("*") if p.is_file()} == before


def test_text_between_markers() -> None:
    text = f"by hand\n{cards.BEGIN}\nold\n{cards.END}\nby hand too\n"
    found = cards.between_markers(text, "new", "x")
    assert found == f"by hand\n{cards.BEGIN}\n\nnew\n\n{cards.END}\nby hand too\n"
    assert cards.between_markers(found, "new", "x") == found
    with pytest.raises(InputError, match="x: lacks the lines"):
        cards.between_markers("by hand", "new", "x")
