"""Dead, hot and masked pixels of generated events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from generated_events import complaint, same, stored
from toy_run import toy_geometry

import kerasgen
from kerasgen.data.hit_lists import read_hit_list
from kerasgen.data.hits import Hits, concatenate, to_dense
from kerasgen.data.mask_file import mask_to_text
from kerasgen.data.root import read_root
from kerasgen.models.trained import Trained
from kerasgen.zoo.generate import main


def masked(run: Path, out: Path, mask: Path, *arguments: str) -> Hits:
    assert main([str(run), "--mask", str(mask), "--seed", "9", "--out", str(out), *arguments]) == 0
    if out.suffix == ".h5":
        return stored(out)
    source = read_root(out) if out.suffix == ".root" else read_hit_list(out, toy_geometry())
    assert "hot,0.25,9-20" in mask_to_text(source.mask)
    return concatenate(list(source.blocks))


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.csv"
    path.write_text(
        "sensor,row,col,kind,rate,charge,run\n1.1.2,*,10-19,dead\n1.10.1,0-9,*,masked,,,4-6\n"
        "1.1.1,3,*,hot,0.25,9-20\n"
    )
    return path


def test_masked_pixels_never_fire_in_any_format(
    run_folder: Path, six: Hits, mask: Path, tmp_path: Path
) -> None:
    """Other pixels are those without the mask; an event alone is that of many."""
    asked = ["--run-number", "5", "--events", "6", "--first-event", "2"]
    hits = [masked(run_folder, tmp_path / f"a.{x}", mask, *asked) for x in ("h5", "root", "npz")]
    for other in hits[1:]:
        same(other, hits[0])
    images, plain = (to_dense(x, toy_geometry()).reshape(6, 3, 20, 48) for x in (hits[0], six))
    silent = np.zeros((3, 20, 48), np.bool_)
    silent[1, :, 10:20] = silent[2, :10] = True
    assert plain[:, silent].any()
    assert not images[:, silent].any()
    silent[0, 3] = True
    np.testing.assert_array_equal(images[:, ~silent], plain[:, ~silent])
    assert (images[:, 0, 3] > plain[:, 0, 3]).any()
    alone = masked(run_folder, tmp_path / "b.h5", mask, "--run-number", "5", "--events", "1",
                   "--first-event", "4")  # fmt: skip
    same(alone, hits[0].take(np.arange(6, 9)))
    model = kerasgen.load(run_folder, mask=mask, run_number=5)
    same(kerasgen.generate(model, 6, 9, 2), hits[0])
    other_run = masked(run_folder, tmp_path / "c.h5", mask, "--run-number", "7", "--events", "1",
                       "--first-event", "4")  # fmt: skip
    assert to_dense(other_run, toy_geometry())[2, :10].any()


def test_resume_takes_the_file_of_its_own_mask_alone(
    run_folder: Path, trained: Trained, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasgen.zoo.lookup.load_to_generate", lambda name, calibrated: trained)
    for suffix in ("h5", "root"):
        start = [
            str(run_folder),
            "--resume",
            "--events",
            "2",
            "--out",
            str(tmp_path / f"x.{suffix}"),
        ]
        with_mask = [*start, "--mask", str(mask), "--run-number"]
        assert main([*with_mask, "5"]) == 0
        assert main([*with_mask, "6"]) == 0  # has the same pixels
        assert "holds 2 events" in complaint(*with_mask, "7")
        assert "holds 2 events" in complaint(*start)


def test_misuse_of_a_mask(run_folder: Path, mask: Path, tmp_path: Path) -> None:
    start = [str(run_folder), "--events", "1", "--out", str(tmp_path / "x.h5")]
    assert "--run-number R says the run" in complaint(*start, "--mask", str(mask))
    assert "--run-number goes with --mask" in complaint(*start, "--run-number", "3")
    mask.write_text("sensor,row,col,kind\n1.1.3,1,1,dead\n")
    assert "line 2: unknown sensor '1.1.3'; did you mean" in complaint(*start, "--mask", str(mask))
    sets = ["jet_vae_flow", *start[1:]]
    assert "--mask" in (text := complaint(*sets, "--mask", str(mask)))
    assert "is for pixel hits" in text
    assert list(tmp_path.iterdir()) == [mask]
