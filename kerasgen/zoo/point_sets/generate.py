"""``kerasgen generate`` for point sets: to kerasgen HDF5, ROOT or NPZ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from kerasgen.atomic import write_atomic
from kerasgen.data.points import TYPES, PointSets, concatenate, write_points
from kerasgen.errors import InputError
from kerasgen.zoo.point_sets.trained import NO_PT
from kerasgen.zoo.trained import find_run, is_point_model

BLOCK = 10_000  # sets at a time


def write_generated(run: str, out: Path, events: range, seed: int, pt: float | None = None) -> None:
    """Generate sets of these event numbers into a file, which appears when it is complete.

    Args:
        run: run folder or exported model.
        out: ends in ``.h5``, ``.root`` (a TTree ``sets`` with a jagged branch per coordinate) or
            ``.npz`` (the datasets of the HDF5 form).
        events: event numbers.
        seed: run seed.
        pt: of the jets, GeV; None: as in the data.

    Raises:
        InputError: no such run, or a pT asked of one that does not know it.
    """
    one_thread_per_tile()
    trained: Any
    if is_point_model(Path(run)):
        from kerasgen.serving.point_model import load_exported_points

        trained = generator = load_exported_points(Path(run))
    else:
        from kerasgen.zoo.point_sets.trained import load_trained_points

        trained = load_trained_points(find_run(run))
        generator = trained.generator
        if pt is not None and not generator.units.pt:
            raise InputError(f"{run}: {NO_PT}")
    blocks = generated_blocks(generator, events, seed, out.name, pt)
    if out.suffix == ".h5":
        creator = f"kerasgen generate {trained.name} {metadata.version('kerasgen')}"
        write_points(out, trained.form, blocks, creator, seed)
        return
    sets = concatenate(blocks)
    if out.suffix == ".npz":
        arrays: dict[str, Any] = {name: getattr(sets, name) for name in TYPES}
        write_atomic(out, lambda partial: np.savez_compressed(partial, **arrays))
    else:
        write_atomic(out, lambda partial: write_tree(partial, sets, trained.form))


def one_thread_per_tile() -> None:
    """Tiles are computed side by side: sharing one among threads as well costs 40 % of the time."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # TensorFlow is already running
        tf.config.threading.set_intra_op_parallelism_threads(1)


def generated_blocks(
    generator: Any, events: range, seed: int, name: str, pt: float | None = None
) -> Iterator[PointSets]:
    """Generated sets, a block at a time, with a progress bar on a terminal."""
    from kerasgen.training.point_monitor import generated_sets

    with tqdm(total=len(events), unit=" sets", desc=name, disable=None) as bar:
        for start in range(events.start, events.stop, BLOCK):
            block = range(start, min(start + BLOCK, events.stop))
            yield generated_sets(generator, block, seed, pt)
            bar.update(len(block))


def write_tree(path: Path, sets: PointSets, form: Any) -> None:
    """One entry per set; the coordinates of its points are jagged branches."""
    import awkward as ak
    import uproot

    branches: dict[str, Any] = {"label": sets.label}
    for k, name in enumerate(form.coordinates):
        branches[name] = ak.unflatten(sets.points[..., k][sets.mask], sets.counts)
    with uproot.recreate(path) as file:
        file["sets"] = branches
