"""The command on a run, and on an exported model."""

import json
from pathlib import Path

import numpy as np
import pytest
from evaluated_events import GEOMETRY, UNHEALTHY, evaluate_files, events, healthy, write
from toy_run import toy_geometry, write_toy_run

from kerasgen.config import to_toml
from kerasgen.data.pixel_events import one_event
from kerasgen.data.pixel_mask import EventMasking
from kerasgen.data.pixel_source import PixelDataSettings
from kerasgen.errors import InputError
from kerasgen.kinds import pixels
from kerasgen.models.pxd_gan.settings import Config
from kerasgen.models.trained import load_trained
from kerasgen.run_folder import append_metrics, last_step
from kerasgen.serving.saved_model import export_model
from kerasgen.zoo.evaluate import main as evaluate_main
from kerasgen.zoo.generate import main as generate_main


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
