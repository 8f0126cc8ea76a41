"""The command on two files, in a process of its own, and its parts."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from evaluated_events import GEOMETRY, UNHEALTHY, evaluate_files, events, healthy, write

from kerasgen.data.hits import concatenate
from kerasgen.data.pixel_mask import EventMasking
from kerasgen.data.store import EventFile, checksum
from kerasgen.errors import InputError
from kerasgen.evaluation.hits import evaluate_hits
from kerasgen.evaluation.samples import summarise_blocks
from kerasgen.metrics.cluster_repeats import SIZES
from kerasgen.metrics.compare import compare
from kerasgen.metrics.pixel import METRICS
from kerasgen.zoo.evaluate import main as evaluate_main


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return (
        write(tmp_path / "real.h5", events(40, 1)),
        write(tmp_path / "made.h5", events(20, 2, shift=4)),
    )


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


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_cites_where_it_is_defined(name: str) -> None:
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,}/\S", METRICS[name][0].__doc__ or "")
