"""The travel form of a run: what it keeps, how large it is, and that the training goes on."""

from __future__ import annotations

import io
import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from shared_runs import Case, shared_case, tensors

from kerasgen.command import run
from kerasgen.models.algorithm import algorithms
from kerasgen.run_folder import BEST, CONFIG, LAST, METRICS, SCHEMA, WEIGHTS, read_metrics
from kerasgen.training import travel
from kerasgen.training.deadline import Deadline, OutOfTime
from kerasgen.training.monitor import Monitor
from kerasgen.zoo import pack

# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS = 4


@pytest.fixture(scope="module", params=sorted(algorithms()))
def case(request: pytest.FixtureRequest, shared_folder: Path) -> Case:
    return shared_case(request.param, shared_folder)


@pytest.fixture(scope="module")
def begun(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was ended after STEPS steps."""
    folder, left = tmp_path_factory.mktemp("begun") / "run", [STEPS + 1]

    def check(self: Deadline, *parts: str) -> None:
        left[0] -= parts == ("step",)
        if not left[0]:
            raise OutOfTime

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deadline, "check", check)
        assert case.train(folder) == 0
    return folder


def test_what_travels(case: Case, begun: Path, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    assert run(pack.main, [str(begun), "--out", str(folder)]) == 0
    assert not (folder / LAST).exists()
    travel.unpack(folder)
    before, after = tensors(begun / LAST), tensors(folder / LAST)
    assert before.keys() == after.keys()
    rounded = 0
    for name, array in before.items():
        there = after[name].astype(array.dtype)
        if "optimizer" in name and array.ndim:
            assert (there == there.flat[0]).all()
            assert there.flat[0] in (0, array.max())
        elif array.ndim > 1:
            np.testing.assert_allclose(there, array, rtol=1e-3, atol=1e-7)
            rounded += bool((there != array).any())
        else:
            np.testing.assert_array_equal(there, array, err_msg=name)
    assert rounded


def test_the_training_goes_on(
    case: Case, begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "packed"
    assert run(pack.main, [str(begun), "--out", str(folder)]) == 0
    assert case.resume(folder) == 0
    out = capsys.readouterr().out
    assert f"Resuming {folder} from its travel form" in out
    assert "\nGoes on from step " in out
    assert "the optimisers warm up again" in out
    assert [x["step"] for x in read_metrics(folder)] == [
        x["step"] for x in read_metrics(case.folder)
    ]
    ours, theirs = tensors(folder / WEIGHTS), tensors(case.folder / WEIGHTS)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=0.2, atol=0.2, err_msg=name)


def test_no_direction_of_an_optimiser_travels(begun: Path, tmp_path: Path) -> None:
    """Also where all numbers of a first moment are positive, as in a vector of one number."""
    with h5py.File(begun / LAST) as source, h5py.File(tmp_path / "x.h5", "w") as target:
        for name in source:
            source.copy(name, target)
        for name, array in travel.arrays(source):
            if "optimizer" in name and array.ndim:
                target[name][...] = 2.0
    with h5py.File(io.BytesIO(travel.travel_content(tmp_path / "x.h5"))) as file:
        moments: dict[str, list[float]] = {}
        for name in sorted(dict(travel.arrays(file)), key=lambda x: int(x.rsplit("/", 1)[-1])
                           if "optimizer" in x else 0):  # fmt: skip
            if "optimizer" in name and file[name].ndim:
                moments.setdefault(name.rsplit("/", 1)[0], []).append(float(file[name][()].flat[0]))
    assert moments
    for values in moments.values():
        assert values == [0.0, 2.0] * (len(values) // 2)


def test_the_best_checkpoint_is_one_of_this_machine(
    begun: Path, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score of the other machine, whose weights stayed there, keeps no checkpoint from it."""
    folder = tmp_path / "packed"
    travel.pack(begun, folder)
    (folder / METRICS).write_text('{"step": 3, "metrics": {}, "score": 1.0}\n')
    monitor = Monitor(case.algorithm.kind, case.config, folder, None, None, 5)  # type: ignore[arg-type]
    monitor.close()
    assert monitor.best == math.inf
    (folder / BEST).parent.mkdir(exist_ok=True)
    (folder / BEST).touch()
    monitor = Monitor(case.algorithm.kind, case.config, folder, None, None, 5)  # type: ignore[arg-type]
    monitor.close()
    assert monitor.best == 1.0


def test_other_files_among_those_of_a_travel_form_are_left_out(begun: Path, tmp_path: Path) -> None:
    travel.pack(begun, tmp_path / "packed")
    for name in ("1-of-3 (copy)", "notes-of-me", ".DS_Store"):
        (tmp_path / "packed" / travel.TRAVEL / name).write_text("x")
    travel.unpack(tmp_path / "packed")
    assert (tmp_path / "packed" / LAST).is_file()


def test_large_networks_come_in_several_files_without_averages(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, least = (len(travel.travel_content(begun / LAST, x)) for x in ((), ("ema",)))
    if whole == least:
        pytest.skip("no moving average in this algorithm")
    monkeypatch.setattr(travel, "MAX_BYTES", (whole + least) // 2)
    monkeypatch.setattr(travel, "MAX_FILE", least // 3)
    size, averages = travel.pack(begun, tmp_path / "small")
    files = list((tmp_path / "small" / travel.TRAVEL).iterdir())
    assert not averages
    assert len(files) == math.ceil(size / travel.MAX_FILE) > 2
    assert sum(x.stat().st_size for x in files) == size <= travel.MAX_BYTES
    assert max(x.stat().st_size for x in files) <= travel.MAX_FILE
    travel.unpack(tmp_path / "small")
    after = tensors(tmp_path / "small" / LAST)
    names = [x for x in after if x.startswith("ema/")]
    (network,) = (x for x in travel.AVERAGED if any(name.startswith(f"{x}/") for name in after))
    assert len(names) == sum(name.startswith("ema/") for name in tensors(begun / LAST))
    for name in names:
        np.testing.assert_array_equal(after[name], after[network + name.removeprefix("ema")])


def test_bad_folders_are_refused(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(*arguments: object) -> str:
        capsys.readouterr()
        assert run(pack.main, [str(x) for x in arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "not a run folder" in complaint(tmp_path, "--out", tmp_path / "x")
    assert "is not empty" in complaint(begun, "--out", begun)
    for name in (CONFIG, SCHEMA):
        shutil.copy(begun / name, tmp_path / name)
    assert "no such checkpoint" in complaint(tmp_path, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("damage", ["cut", "missing", "other"])
def test_damaged_files_are_refused(
    case: Case, begun: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "packed"
    travel.pack(begun, folder)
    (file,) = (folder / travel.TRAVEL).iterdir()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:1000] if damage == "cut" else b"nothing of the kind")
    assert case.resume(folder) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(folder / travel.TRAVEL) in line
    assert not (folder / LAST).exists()
