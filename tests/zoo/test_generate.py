"""Events from a run: equal bits whatever the batch, shard or process, and one line for misuse."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from generated_events import complaint, generated, same, stored
from toy_run import toy_geometry, write_toy_run

from benchmarks.killed_shards import KILLED
from kerasgen.data.hit_lists import read_hit_list
from kerasgen.data.hits import Hits, concatenate
from kerasgen.data.pixel_events import event_hits
from kerasgen.data.root import read_root
from kerasgen.data.store import EventFile
from kerasgen.kinds.pixels import PIXELS
from kerasgen.layers.spectral import spectral_layers
from kerasgen.models.trained import Trained, identity, load_trained, read_config
from kerasgen.zoo.generate import main, shard_range

ROOT = Path(__file__).parents[2]


def test_events_are_hits_of_whole_events(six: Hits) -> None:
    np.testing.assert_array_equal(six.event, np.repeat(np.arange(2, 8), 3))
    np.testing.assert_array_equal(six.sensor, np.tile(np.arange(3), 6))
    assert len(six.adu) > 50
    assert six.adu.min() >= 7
    assert not six.type.any()


def test_events_and_sensors_and_seeds_differ(run_folder: Path, six: Hits) -> None:
    images = [six.take(np.array([i])) for i in range(len(six)) if six.counts[i]]
    places = {(x.row * 48 + x.col).tobytes() + x.adu.tobytes() for x in images}
    assert len(places) == len(images) > 5
    other = generated(run_folder, 6, 10, first_event=2)
    assert not np.array_equal(other.indptr, six.indptr)


def test_an_event_does_not_depend_on_where_it_stands(run_folder: Path, six: Hits) -> None:
    same(generated(run_folder, 1, 9, first_event=5), six.take(np.arange(9, 12)))
    streamed = list(PIXELS.stream(load_trained(run_folder), range(2, 8), 9, "", None))
    assert len(streamed) == 6
    same(concatenate(streamed), six)


def test_without_calibration_the_run_itself_speaks(run_folder: Path, six: Hits) -> None:
    plain = generated(run_folder, 6, 9, 2, calibrated=False)
    assert len(plain.adu) > 2 * len(six.adu)
    # The cuts of the calibration are higher: what they leave was there before.
    before, left = ((x.image * 100 + x.row) * 100 + x.col for x in (plain, six))
    assert np.isin(left, before).all()


def test_spectral_norm_is_folded_without_effect(run_folder: Path) -> None:
    """The network that generates has no power iteration left, and computes the same."""
    from kerasgen.models.pxd_gan.build import build_generator
    from kerasgen.models.pxd_gan.sampling import EventGenerator

    trained = load_trained(run_folder, calibrated=False)
    config = read_config(run_folder)
    network = build_generator(
        "sub_pixel", config.generator, trained.schema, 1, "float32", "generator"
    )
    network.load_weights(run_folder / "model.weights.h5")
    assert spectral_layers(network)
    assert not spectral_layers(trained.generator.generator)
    stored = EventGenerator(network, 20, 48, 7, 255)
    arguments = np.int32(1), np.array([3, 4]), np.float32(-np.inf)
    for ours, theirs in zip(
        trained.generator.pixels_above(*arguments), stored.pixels_above(*arguments), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("suffix", ["h5", "root", "npz"])
def test_every_format_holds_the_same_events(
    run_folder: Path, six: Hits, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"events.{suffix}"
    arguments = ["--events", "6", "--seed", "9", "--first-event", "2", "--out", str(out)]
    assert main([str(run_folder), *arguments]) == 0
    geometry = toy_geometry()
    if suffix == "h5":
        with EventFile(out) as file:
            assert file.geometry == geometry
            assert file.attributes["seed"] == 9
            assert "toy-1" in file.attributes["creator"]
        found = stored(out)
    else:
        source = read_root(out) if suffix == "root" else read_hit_list(out, geometry)
        found = concatenate(list(source.blocks))
    same(found, six)
    assert os.listdir(tmp_path) == [out.name]


@pytest.mark.parametrize("suffix", ["h5", "npz"])
def test_a_file_is_overwritten_only_by_force(run_folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"events.{suffix}"
    out.write_text("mine")
    arguments = [str(run_folder), "--events", "1", "--out", str(out)]
    assert "exists already; --force overwrites it" in complaint(*arguments)
    assert out.read_text() == "mine"
    assert main([*arguments, "--force"]) == 0
    assert out.read_bytes() != b"mine"
    assert os.listdir(tmp_path) == [out.name]


def test_shards_joined_are_the_whole(run_folder: Path, six: Hits, tmp_path: Path) -> None:
    """Four parts of six events, one of them made by another process."""
    parts = [tmp_path / f"{j}.h5" for j in range(4)]
    for j, out in enumerate(parts):
        arguments = [str(run_folder), "--events", "6", "--seed", "9", "--first-event", "2"]
        arguments += ["--shards", "4", "--shard", str(j), "--out", str(out)]
        if j == 2:
            command = [sys.executable, "-m", "kerasgen.zoo.generate", *arguments]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        else:
            assert main(arguments) == 0
    same(concatenate([stored(p) for p in parts]), six)


def test_killed_shards_are_done_again_and_no_event_is_lost_or_repeated(
    run_folder: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Five jobs of one production: one done, two killed in mid-way, two never started."""
    shards, events = 5, 40

    def job(k: int) -> list[str]:
        arguments = ["--events", str(events), "--seed", "9", "--shards", str(shards), "--resume"]
        suffix = "root" if k == 2 else "h5"
        out = tmp_path / f"{k}.{suffix}"
        return [str(run_folder), *arguments, "--shard", str(k), "--out", str(out)]

    middle = {k: str(events * (2 * k + 1) // (2 * shards)) for k in (1, 2)}
    doomed = [
        subprocess.Popen([sys.executable, "-c", KILLED, middle[k], *job(k)], cwd=ROOT)
        for k in (1, 2)
    ]
    assert [process.wait(timeout=120) for process in doomed] == [-signal.SIGKILL] * 2
    left = [p.name for p in tmp_path.iterdir()]
    assert len(left) == 2
    assert all(name.startswith(".partial-") for name in left)

    monkeypatch.setattr("kerasgen.zoo.lookup.load_to_generate", lambda name, calibrated: trained)
    for k in (0, *range(shards)):
        assert main(job(k)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("complete already") for line in lines] == [0, 1, 0, 0, 0, 0]
    assert " kB per event, " in lines[0]
    assert lines[0].endswith(" events/s")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"{k}.{'root' if k == 2 else 'h5'}" for k in range(shards)
    ]
    parts = [
        concatenate(list(read_root(p).blocks)) if p.suffix == ".root" else stored(p)
        for p in sorted(tmp_path.iterdir())
    ]
    joined = concatenate(parts)
    np.testing.assert_array_equal(joined.event[::3], np.arange(events))
    same(joined, event_hits(trained.generator, trained.schema, range(events), 9))


def test_resume_takes_the_file_of_its_own_job_alone(
    run_folder: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasgen.zoo.lookup.load_to_generate", lambda name, calibrated: trained)
    for suffix in ("h5", "root", "rntuple.root"):
        out = str(tmp_path / f"x.{suffix}")
        start = [str(run_folder), "--resume", "--out", out, "--events"]
        assert main([*start, "2", "--seed", "3"]) == 0
        before = Path(out).read_bytes()
        assert main([*start, "2", "--seed", "3"]) == 0
        text = complaint(*start, "2", "--seed", "4")
        assert "holds 2 events of seed 3 by 'kerasgen generate toy-1" in text
        assert "not events 0..1 of seed 4" in text
        assert "holds 2 events" in complaint(*start, "3", "--seed", "3")
        assert "goes with .h5 and .root" in complaint(*start, "2", "--seed", "3", "--force")
        assert Path(out).read_bytes() == before
    start = [str(run_folder), "--resume", "--events", "2", "--out"]
    assert "goes with .h5 and .root" in complaint(*start, str(tmp_path / "x.npz"))
    (tmp_path / "y.h5").write_bytes(b"other")
    assert "not an HDF5 file" in complaint(*start, str(tmp_path / "y.h5"))


def test_generated_files_name_weights_and_calibration(run_folder: Path, tmp_path: Path) -> None:
    """A file of other weights, or of another calibration, is not that of the job."""
    names = "model.weights.h5", "calibration.npz"
    for name in names:
        shutil.copy(run_folder / name, tmp_path / name)
    found = [identity(tmp_path, names), identity(tmp_path, names[:1])]
    for name in names[::-1]:
        with open(tmp_path / name, "ab") as file:
            file.write(b"other")
        found += [identity(tmp_path, names), identity(tmp_path, names[:1])]
    assert found[3] == found[1]  # the calibration is not used
    assert len(set(found)) == 5
    trained = load_trained(run_folder)
    assert trained.identity == identity(run_folder, names)
    assert load_trained(run_folder, False).identity == identity(run_folder, names[:1])


def test_shards_cover_the_events_once() -> None:
    for events, shards in ((10, 3), (7, 7), (1, 1)):
        parts = [shard_range(5, events, shards, j) for j in range(shards)]
        assert [e for part in parts for e in part] == list(range(5, 5 + events))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_background_types_reach_the_file(tmp_path: Path) -> None:
    """One channel has the type of the recipe, two channels have both."""
    one = generated(write_toy_run(tmp_path / "one", (4,)), 2, 0)
    assert set(one.type.tolist()) == {4}
    run = write_toy_run(tmp_path / "two", (2, 6), max_charge=1000, output="tanh")
    two = generated(run, 3, 0)
    assert set(two.type.tolist()) == {2, 6}
    assert two.adu.max() <= 1000
    key = (two.image * 20 + two.row) * 48 + two.col
    assert (np.diff(key) > 0).all()


def test_misuse_of_the_command_line(run_folder: Path, tmp_path: Path) -> None:
    run, out = str(run_folder), str(tmp_path / "x.h5")
    two = ["--events", "2"]
    assert "'0' is not a whole number in 1.." in complaint(run, "--events", "0", "--out", out)
    assert "allowed: .h5, .root, .npz" in complaint(run, *two, "--out", str(tmp_path / "x.txt"))
    missing = str(tmp_path / "no" / "x.h5")
    assert f"the folder {tmp_path / 'no'} does not exist" in complaint(run, *two, "--out", missing)
    parts = [run, *two, "--out", out, "--shards", "2"]
    assert "--shard 2: allowed: 0..1" in complaint(*parts, "--shard", "2")
    assert "--shards and --shard go together" in complaint(*parts)
    three = [run, *two, "--out", out, "--shards", "3", "--shard", "0"]
    assert "at most one per event" in complaint(*three)
    late = ["--first-event", str(2**63 - 1)]
    assert "pass 2**63 - 1" in complaint(run, *two, "--out", out, *late)
    text = complaint(run, *two, "--out", out, "--level", "2")
    assert text == f"--level: {run} takes no such condition (it takes: none)"
    assert not list(tmp_path.iterdir())


def test_a_missing_run_names_the_nearest(run_folder: Path, tmp_path: Path) -> None:
    rest = ["--events", "1", "--out", str(tmp_path / "x.h5")]
    text = complaint(str(run_folder.with_name("toy-2")), *rest)
    assert f"did you mean '{run_folder}'?" in text
    assert "no run folder" in complaint(str(tmp_path), *rest)
    assert "has no released weights" in complaint("pxd_biggan_deep", *rest)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("model.weights.h5", b"\x89HDF", "damaged, or not the weights"),
        ("model.weights.h5", None, "finish it with: train --resume"),
        ("calibration.npz", b"PK", "not a calibration"),
        ("calibration.npz", None, "--no-calibration goes without"),
        ("schema.json", None, "incomplete"),
        ("schema.json", b"{", "not a geometry"),
        ("config.toml", b"=", "not TOML"),
    ],
)
def test_a_damaged_run_is_bad_input(
    run_folder: Path, tmp_path: Path, name: str, content: bytes | None, text: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    found = complaint(str(run), "--events", "1", "--out", str(tmp_path / "x.h5"))
    assert text in found
    assert str(run) in found
    assert not (tmp_path / "x.h5").exists()


def test_a_calibration_of_another_detector_is_bad_input(run_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    with np.load(run / "calibration.npz") as file:
        threshold, quantile_map = file["threshold"], file["quantile_map"]
    np.savez(run / "calibration.npz", threshold=threshold[:2], quantile_map=quantile_map[:2])
    rest = ["--events", "1", "--out", str(tmp_path / "x.h5")]
    assert "threshold [2] and quantile_map [2, 4096], expected [3]" in complaint(str(run), *rest)
    np.savez(run / "calibration.npz", threshold=threshold, quantile_map=quantile_map // 7)
    assert "allowed: 7..255" in complaint(str(run), *rest)


def test_an_interrupt_leaves_no_file(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "many.npz"
    command = [sys.executable, "-m", "kerasgen.zoo.generate", str(run_folder)]
    command += ["--events", "1000000", "--out", str(out)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert not list(tmp_path.iterdir())
