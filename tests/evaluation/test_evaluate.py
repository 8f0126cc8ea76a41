"""The command on real files, in a process of its own, and its parts."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from toy_run import toy_geometry, write_toy_run

from kerasgen.config import to_toml
from kerasgen.data.geometry import Geometry, Sensor
from kerasgen.data.hits import Hits, concatenate, from_dense, without
from kerasgen.data.mask_file import HEADER, mask_from_text
from kerasgen.data.pixel_events import one_event
from kerasgen.data.pixel_mask import EventMasking, PixelMask
from kerasgen.data.pixel_source import PixelDataSettings, event_path
from kerasgen.data.store import EventFile, EventWriter, checksum
from kerasgen.errors import InputError
from kerasgen.evaluation.hits import evaluate_hits
from kerasgen.evaluation.samples import held_out_sample, summarise_blocks, training_events
from kerasgen.kinds import pixels
from kerasgen.metrics.cluster_repeats import SIZES
from kerasgen.metrics.compare import compare
from kerasgen.metrics.pixel import METRICS
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.trained import load_trained
from kerasgen.run_folder import append_metrics, last_step
from kerasgen.serving.saved_model import export_model
from kerasgen.zoo.evaluate import main as evaluate_main
from kerasgen.zoo.generate import main as generate_main
from kerasgen.zoo.run import training_checksums

GEOMETRY = Geometry(
    "small", 24, 40, 7, 255,
    tuple(Sensor(f"{layer}.{k}.1", 10 * layer + k, layer, k) for layer in (1, 2) for k in (1, 2)),
)  # fmt: skip


def events(n: int, seed: int, shift: int = 0, geometry: Geometry = GEOMETRY) -> Hits:
    rng = np.random.default_rng(seed)
    sensors = len(geometry.sensors)
    size = (n * sensors, geometry.rows, geometry.cols)
    charge = 7 + shift + np.minimum(rng.exponential(15, size), 200).astype(int)
    images = charge * (rng.random(size) < 0.03)
    return from_dense(images, np.tile(np.arange(sensors), n), np.repeat(np.arange(n), sensors))


def write(
    path: Path, hits: Hits, geometry: Geometry = GEOMETRY, mask: PixelMask | None = None
) -> str:
    with EventWriter(path, geometry, "test", mask=mask) as file:
        file.write(hits)
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return (
        write(tmp_path / "real.h5", events(40, 1)),
        write(tmp_path / "made.h5", events(20, 2, shift=4)),
    )


def evaluate_files(
    reference: str,
    candidate: str,
    events: int | None,
    out: Path,
    seed: int,
    training: str | None = None,
) -> dict[str, Any]:
    """The command on two files; the content of its ``metrics.json``."""
    options = ["--reference", reference, "--candidate", candidate, "--seed", str(seed)]
    options += ["--events", str(events)] if events else []
    options += ["--training", training] if training else []
    assert evaluate_main([*options, "--out", str(out)]) == 0
    return json.loads((out / "metrics.json").read_text())


def call(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "kerasgen.zoo.evaluate", *arguments],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_two_files_in_a_process_of_their_own(files: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "report"
    done = call("--reference", files[0], "--candidate", files[1], "--out", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((out / "metrics.json").read_text())
    assert document["metrics"].keys() == METRICS.keys() | SIZES.keys()
    assert document["metrics"]["adu_w1"]["value"] == pytest.approx(4, abs=1)
    assert document["verdict"] == "outside floor"
    assert document["candidates"]["candidate"]["metrics"] == document["metrics"]
    assert document["events"] == {"reference": 40, "candidate": 20}
    assert document["data"].keys() == {"real.h5", "made.h5"}
    assert "charge spectrum (W1), ADU" in done.stdout
    last = f"All metrics, definitions and figures: {out / 'report.html'}"
    assert done.stdout.splitlines()[-1] == last
    names = {p.name for p in out.iterdir()}
    assert names == {
        "metrics.json", "report.html", "hits.png", "hits_candidate.png", "adu.png", "occupancy.png",
        "occupancy_per_sensor.png", "cluster_size.png", "clusters.png",
    }  # fmt: skip
    html = (out / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 7
    assert "http" not in html


def test_tensorflow_is_not_imported_for_two_files(files: tuple[str, str], tmp_path: Path) -> None:
    code = (
        "import sys; from kerasgen.zoo.evaluate import main; main(sys.argv[1:]);"
        "sys.exit('tensorflow' in sys.modules)"
    )
    options = ["--reference", files[0], "--candidate", files[1], "--out", str(tmp_path / "out")]
    assert subprocess.run([sys.executable, "-c", code, *options], timeout=120).returncode == 0
    assert (tmp_path / "out" / "metrics.json").is_file()


def test_a_folder_is_overwritten_and_the_same_seed_gives_the_same_bytes(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    found = evaluate_files(*files, events=5, out=out, seed=3)
    assert found["events"] == {"reference": 40, "candidate": 5}
    assert found["metrics"]["adu_w1"]["n"] == 5
    first = {p.name: p.read_bytes() for p in out.iterdir()}
    assert "replaced" not in capsys.readouterr().out
    evaluate_files(*files, events=5, out=out, seed=3)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"The earlier report in {out} was replaced."
    assert {p.name: p.read_bytes() for p in out.iterdir()} == first


def test_blocks_of_a_file_give_what_memory_gives(files: tuple[str, str]) -> None:
    with EventFile(files[0]) as file:
        streamed = summarise_blocks(file.blocks(16), GEOMETRY).summary
    whole = summarise_blocks([events(40, 1)], GEOMETRY).summary
    candidate = summarise_blocks([events(20, 2)], GEOMETRY).summary
    assert compare(streamed, candidate, seed=0) == compare(whole, candidate, seed=0)


def test_files_of_one_name_keep_both_checksums(files: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    other = Path(files[1]).rename(tmp_path / "new" / "real.h5")
    found = evaluate_files(files[0], str(other), 5, tmp_path / "out", 0)
    assert found["data"] == {str(p): checksum(p) for p in (files[0], other)}


def test_the_same_events_twice_are_remarked_on(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, made = files
    copy = str(tmp_path / "copy.h5")
    Path(copy).write_bytes(Path(real).read_bytes())
    out = tmp_path / "out"
    assert evaluate_files(real, made, 5, out, 0, training=copy)["remarks"] == [
        f"Reference and training are the same events: {real} and {copy}."
    ]
    assert evaluate_files(real, made, 5, out, 0)["remarks"] == []
    capsys.readouterr()
    line = f"Candidate and reference are the same events: {real}."
    assert evaluate_files(real, real, None, out, 0)["remarks"] == [line]
    assert f"\n{line}\nNo difference is seen" in capsys.readouterr().out
    assert f"<strong>{line}</strong>" in (out / "report.html").read_text()
    line = f"Candidate and reference are the same events: {copy} and {real}."
    assert evaluate_files(real, copy, None, out, 0)["remarks"] == [line]


# A third of a sensor, a row, and a hot pixel of another.
UNHEALTHY = mask_from_text(
    f"{HEADER}\n1.1.1,0-7,*,dead\n2.1.1,3,*,masked,,,0-4\n2.2.1,9,9,hot,1,200\n", GEOMETRY, "test"
)


def healthy(hits: Hits) -> Hits:
    return without(hits, UNHEALTHY.unhealthy())


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports whose figures are not rendered, which takes most of the time."""
    monkeypatch.setattr("kerasgen.evaluation.hits.figure_to_png", lambda figure: b"")


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("masked", ["reference", "candidate", "training"])
def test_pixels_that_one_file_masks_are_left_out_of_all(tmp_path: Path, masked: str) -> None:
    """The metrics are those of files without any hit there."""
    samples = {"reference": events(40, 1), "candidate": events(20, 2), "training": events(30, 3)}
    expected, found = [], []
    for name, hits in samples.items():
        expected.append(write(tmp_path / f"expected_{name}.h5", healthy(hits)))
        if name == masked:
            hits = EventMasking(UNHEALTHY).apply(hits, 0)
        mask = UNHEALTHY if name == masked else None
        found.append(write(tmp_path / f"{name}.h5", hits, mask=mask))
    a, b = (
        evaluate_files(*paths[:2], None, tmp_path / "out", 5, training=paths[2])
        for paths in (expected, found)
    )
    assert b["metrics"] == a["metrics"]
    assert b["remarks"] == [
        "361 pixels are dead, masked or hot in a file: they are left out of all samples."
    ]
    assert a["remarks"] == []


def test_the_last_candidate_is_the_one_that_counts(tmp_path: Path) -> None:
    hits = {"uncalibrated": events(8, 2, shift=9), "calibrated": events(8, 3)}
    found = evaluate_hits(
        events(40, 1), hits, GEOMETRY, tmp_path, "run", config={"steps": 1}, data={"a": "b"}
    )
    assert found == json.loads((tmp_path / "metrics.json").read_text())
    assert found["candidate"] == "calibrated"
    assert found["metrics"] == found["candidates"]["calibrated"]["metrics"]
    assert "adu_w1" in found["candidates"]["uncalibrated"]["outside"]
    assert "adu_w1" not in found["outside"]
    assert (found["config"], found["data"]) == ({"steps": 1}, {"a": "b"})
    assert {"hits_uncalibrated.png", "hits_calibrated.png"} <= {p.name for p in tmp_path.iterdir()}


def test_training_events_show_copies_and_are_the_bootstrap_baseline(tmp_path: Path) -> None:
    """Half of the images of the candidate are images of the training."""
    training, fresh = events(30, 5), events(30, 6)
    images = np.arange(len(fresh))
    mixed = concatenate([fresh, training]).take(images + len(fresh) * (images % 8 < 4))
    paths = [
        write(tmp_path / "real.h5", events(40, 1)),
        write(tmp_path / "made.h5", replace(mixed, event=fresh.event)),
        write(tmp_path / "training.h5", training),
    ]
    out = tmp_path / "out"
    found = evaluate_files(paths[0], paths[1], None, out, 0, training=paths[2])
    assert found["metrics"]["memorised"]["value"] == pytest.approx(0.5)
    assert "memorised" in found["outside"]
    assert list(found["candidates"]) == ["bootstrap", "candidate"]
    bootstrap = found["candidates"]["bootstrap"]["metrics"]
    assert bootstrap["memorised"]["value"] == 1
    assert bootstrap["adu_w1"]["within"]
    assert not bootstrap["copies"]["within"]  # drawn more than once
    assert found["candidates"]["bootstrap"]["verdict"] is None
    assert found["events"] == {"reference": 40, "bootstrap": 30, "candidate": 30}
    assert found["baseline"]["events"] == 30
    html = (out / "report.html").read_text()
    assert ">at most 100 000</td>" in html  # the model is not known
    assert "The model and the bootstrap baseline" in html
    assert "no verdict, because a bootstrap sample repeats events" in html


def test_the_cost_is_known_before_it_starts(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_files(*files, None, tmp_path / "out", 0)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("40 real and 1 x 20 events: about ")


def bad_calls(folder: Path) -> list[tuple[list[str], str]]:
    real = write(folder / "real.h5", events(8, 1))
    few = write(folder / "few.h5", events(3, 1))
    other = replace(GEOMETRY, threshold=6)
    foreign = write(folder / "foreign.h5", events(8, 1), other)
    broken = folder / "broken.h5"
    broken.write_bytes(Path(real).read_bytes()[:3000])
    charged = write(folder / "charged.h5", events(8, 1))
    with h5py.File(charged, "r+") as file:
        file["adu"][100] = 300
    two = ["--reference", real, "--candidate"]
    return [
        ([*two, str(folder / "none.h5")], "no such file"),
        ([*two, few], "has 3 events; at least 4"),
        ([*two, foreign], "different geometries"),
        ([*two, str(broken)], "truncated"),
        ([*two, charged], "300"),
        ([*two, real, "--out", real], "is a file"),
        ([*two, real, "--out", f"{real}/deeper"], "is a file"),
        ([*two, real, "--events", "9"], "has 8 events, 9 were asked for"),
        ([*two, real, "--events", "3"], "4.."),
        ([*two, real, "--seed", "-1"], "'-1'"),
        ([*two, real, "--data", real], "--data"),
        ([*two, real, "--training", str(folder / "none.h5")], "no such file"),
        ([*two, real, "--training", foreign], "different geometries"),
        (["run", "--training", real], "--training"),
        ([*two, real, "--tracking"], "cannot be simulated"),
        (["--reference", real], "both --reference A.h5 and --candidate B.h5"),
        (["run", *two, real], "not both"),
        ([str(folder)], "config.toml"),
        ([str(folder / "no-run")], "no-run"),
        (["no_such_recipe"], "no_such_recipe"),
        ([real], "is a file; allowed: a run folder"),
    ]


def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = bad_calls(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for arguments, words in calls:
        with pytest.raises(InputError) as e:
            evaluate_main(arguments)
        assert words in str(e.value), arguments
        assert "\n" not in str(e.value)
        assert sorted(tmp_path.rglob("*")) == before, arguments


def test_bad_input_ends_the_process_with_code_2(tmp_path: Path) -> None:
    done = call("--reference", str(tmp_path / "a.h5"), "--candidate", "b.h5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"kerasgen: {tmp_path / 'a.h5'}: no such file\n"


class StandInModel:
    """A model and its generator; charges are shifted without calibration.

    Args:
        calibrated: with calibration.
        asked: gets (calibrated, event, seed) of each generated event.
    """

    name, identity, schema, mask = "stand-in", "000000000000", GEOMETRY, None
    types = (1,)
    files = ("model.weights.h5", "calibration.npz")

    def __init__(self, calibrated: bool, asked: list[tuple[bool, int, int]]) -> None:
        self.calibrated, self.asked = calibrated, asked
        self.generator = self

    def digits(self, sensor: np.ndarray, seed: np.ndarray) -> dict[str, np.ndarray]:
        assert sensor.tolist() == [0, 1, 2, 3]
        ((run_seed, event),) = set(map(tuple, seed.tolist()))
        self.asked.append((self.calibrated, event, run_seed))
        made = events(1, 100 + event, shift=0 if self.calibrated else 5)
        hits = np.zeros((4, made.counts.max(), 3), np.int16)
        filled = np.arange(hits.shape[1]) < made.counts[:, None]
        hits[filled] = np.stack([made.row, made.col, made.adu], -1)
        return {"count": made.counts, "hits": hits}


def test_a_run_is_evaluated_without_and_with_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is a stand-in; everything else is the command's own."""
    run = tmp_path / "run"
    run.mkdir()
    path = write(tmp_path / "real.h5", events(60, 1))
    config = Config("none", data=PixelDataSettings(source=path, events=0, held_out=30))
    (run / "config.toml").write_text(to_toml(config))
    for name, size in (("model.weights.h5", 300), ("calibration.npz", 50)):
        (run / name).write_bytes(bytes(size))
    asked: list[tuple[bool, int, int]] = []

    def load(folder: Path, calibrated: bool) -> StandInModel:
        assert folder == run
        return StandInModel(calibrated, asked)

    monkeypatch.setattr("kerasgen.zoo.run.load_trained", load)
    assert evaluate_main([str(run), "--events", "20", "--seed", "4"]) == 0
    name = str(run)
    assert asked == [(calibrated, k, 4) for calibrated in (False, True) for k in range(20)]
    document = json.loads((run / "report" / "metrics.json").read_text())
    assert document["events"] == {
        "reference": 30, "bootstrap": 20, "uncalibrated": 20, "calibrated": 20,
    }  # fmt: skip
    assert document["baseline"]["models"] == {"calibrated": 350}
    assert document["config"]["data"]["held_out"] == 30
    assert "adu_w1" in document["candidates"]["uncalibrated"]["outside"]
    assert "adu_w1" not in document["outside"]
    (line,) = (run / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line) == {"step": config.training.steps, **document}

    other = write(tmp_path / "other.h5", events(8, 3))
    out = tmp_path / "with_other_data"
    assert evaluate_main([name, "--events", "4", "--data", other, "--out", str(out)]) == 0
    document = json.loads((out / "metrics.json").read_text())
    assert document["events"] == {"reference": 8, "uncalibrated": 4, "calibrated": 4}
    assert document["baseline"] is None
    assert document["remarks"] == []
    copy = tmp_path / "copy.h5"
    copy.write_bytes(Path(path).read_bytes())
    assert evaluate_main([name, "--events", "4", "--data", str(copy), "--out", str(out)]) == 0
    remarks = json.loads((out / "metrics.json").read_text())["remarks"]
    assert remarks == [f"Reference and training are the same events: {copy} and real.h5."]

    foreign = write(tmp_path / "foreign.h5", events(8, 3, geometry=toy_geometry()), toy_geometry())
    with monkeypatch.context() as patch:  # found before the reference is read
        patch.setattr("kerasgen.kinds.pixel_evaluation.held_out_sample", None)
        for more in ([], ["--networks"]):
            with pytest.raises(InputError, match="different geometries"):
                evaluate_main([name, "--data", foreign, *more, "--out", str(tmp_path / "no")])

    asked.clear()
    out = tmp_path / "other"
    assert evaluate_main([name, "--events", "4", "--no-calibration", "--out", str(out)]) == 0
    assert asked == [(False, k, config.training.seed + 1) for k in range(4)]
    assert json.loads((out / "metrics.json").read_text())["candidate"] == "uncalibrated"


@pytest.mark.usefixtures("without_figures")
def test_a_run_on_masked_data_is_compared_on_healthy_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in fires everywhere; the metrics are those of data and model without hits there."""
    documents = []
    for name, mask in (("masked", UNHEALTHY), ("plain", None)):
        hits = EventMasking(UNHEALTHY).apply(events(60, 1), 0)  # a pixel is hot in all events
        path = write(tmp_path / f"{name}.h5", hits if mask else healthy(hits), mask=mask)
        run = tmp_path / name
        run.mkdir()
        config = Config("none", data=PixelDataSettings(source=path, events=0, held_out=30))
        (run / "config.toml").write_text(to_toml(config))
        for file in ("model.weights.h5", "calibration.npz"):
            (run / file).write_bytes(b"weights")
        with monkeypatch.context() as patch:
            patch.setattr(
                "kerasgen.zoo.run.load_trained",
                lambda run, calibrated: StandInModel(calibrated, []),
            )
            if mask is None:
                patch.setattr(pixels, "one_event", lambda *given: healthy(one_event(*given)))
            assert evaluate_main([str(run), "--events", "20", "--seed", "4"]) == 0
        documents.append(json.loads((run / "report" / "metrics.json").read_text()))
    masked, plain = documents
    assert masked["metrics"] == plain["metrics"]
    assert masked["candidates"].keys() == {"bootstrap", "uncalibrated", "calibrated"}
    assert masked["candidates"] == plain["candidates"]
    assert len(masked["remarks"]) == 1
    assert plain["remarks"] == []


def test_training_events_are_those_of_the_run_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    path = tmp_path / "real.h5"
    settings = PixelDataSettings(write(path, events(12, 1)), 0, 5)

    def known() -> range | None:
        with training_events(settings, training_checksums(run)) as found:
            return found and found[1]

    assert known() == range(7)  # nothing is recorded
    recorded = [{"step": 1}, {"step": 2, "data": {"real.h5": checksum(path)}}]
    recorded.append({"step": 2, "data": {"real.h5": "of another evaluation"}})
    (run / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in recorded))
    assert known() == range(7)
    assert capsys.readouterr().out == ""
    write(path, events(12, 2))
    assert known() is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}: not the file of the training")
    path.unlink()
    assert known() is None


def test_held_out_events_are_the_last_ones_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "real.h5", events(12, 1))
    for n, numbers in ((0, [7, 8, 9, 10, 11]), (10, [5, 6, 7, 8, 9])):
        found, data = held_out_sample(PixelDataSettings(path, n, 5), None)
        assert found.summary.event.tolist() == numbers
        assert len(data["real.h5"]) == 64
    other = write(tmp_path / "other.h5", events(6, 2))
    assert len(held_out_sample(PixelDataSettings(path, 0, 5), other)[0].summary) == 6


def test_held_out_events_have_the_hits_that_training_used(tmp_path: Path) -> None:
    hits = events(8, 1)
    hits.type[:] = np.random.default_rng(3).integers(0, 4, len(hits.type))
    path = write(tmp_path / "real.h5", hits)
    found, _ = held_out_sample(PixelDataSettings(path, 0, 5, channels=[3, 1]), None)
    kept = np.bincount(hits.image, np.isin(hits.type, (1, 3))).reshape(8, -1)
    np.testing.assert_array_equal(found.summary.fired, kept[3:])


def test_held_out_events_of_the_simulator_are_those_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path))
    settings = PixelDataSettings("simulate:pxd", 30, 5)
    cache = event_path("simulate:pxd", 30, settings.seed)
    write(cache, events(30, 1))
    found, data = held_out_sample(settings, None)
    assert found.summary.geometry == GEOMETRY
    assert found.summary.event.tolist() == [25, 26, 27, 28, 29]
    assert data == {cache.name: checksum(cache)}
    assert capsys.readouterr().out == ""


def test_without_the_cache_no_more_than_the_held_out_events_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice the same, simulated once; for a run on a file, any events are new."""
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path))
    for _ in range(2):
        found, _ = held_out_sample(PixelDataSettings("simulate:pxd", 3000, 4), None)
        assert found.summary.event.tolist() == [2996, 2997, 2998, 2999]
    assert capsys.readouterr().out.count("Simulating 4 events") == 1
    found, _ = held_out_sample(PixelDataSettings("real.h5", 0, 4), "simulate:pxd")
    assert found.summary.event.tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="simulate:pxd"):
        held_out_sample(PixelDataSettings("simulate:px", 30, 4), None)


def test_no_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="no events"):
        summarise_blocks([], GEOMETRY)


def test_lines_are_appended_with_the_step_that_training_got_to(tmp_path: Path) -> None:
    """One line for each step and data; a repeated evaluation replaces its line."""
    path = tmp_path / "metrics.jsonl"
    documents = [
        {"verdict": verdict, "data": {"a.h5": digest}}
        for verdict, digest in (
            ("outside floor", "1"),
            ("outside floor", "2"),
            ("within floor", "1"),
        )
    ]
    for document in documents:
        append_metrics(tmp_path, last_step(tmp_path, 70), document)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"step": 70, **documents[2]}, {"step": 70, **documents[1]}]
    path.write_text('{"step": 30}\n')
    append_metrics(tmp_path, last_step(tmp_path, 70), documents[0])
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 30, **documents[0]}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_an_exported_model_judged_as_the_file_that_it_generates(tmp_path: Path) -> None:
    run = write_toy_run(tmp_path / "toy-1")
    exported = export_model(load_trained(run), tmp_path / "exported", "toy")
    real = write(tmp_path / "real.h5", events(12, 1, geometry=toy_geometry()), toy_geometry())
    assert generate_main([str(exported), "--events", "12", "--out", str(tmp_path / "made.h5")]) == 0
    by_file = evaluate_files(real, str(tmp_path / "made.h5"), None, tmp_path / "a", 0)
    by_model = evaluate_files(real, str(exported.parent), None, tmp_path / "b", 0)
    assert by_model["metrics"] == by_file["metrics"]
    assert by_model["events"] == {"reference": 12, "candidate": 12}
    assert by_model["data"].keys() == {"real.h5", "toy-1 (exported)"}
    wrong = write(tmp_path / "other.h5", events(12, 1))
    with pytest.raises(InputError, match="different geometries"):
        evaluate_files(wrong, str(exported), None, tmp_path / "c", 0)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_cites_where_it_is_defined(name: str) -> None:
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,}/\S", METRICS[name][0].__doc__ or "")
