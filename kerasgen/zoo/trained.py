"""A trained generator, from a run folder or from a recipe that ships weights."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.geometry import Geometry, geometry_from_json
from kerasgen.data.store import checksum
from kerasgen.errors import InputError, nearest
from kerasgen.zoo.catalogue import recipes
from kerasgen.zoo.config import SPARSE_VAE, Config, read_config

if TYPE_CHECKING:
    import keras

    from kerasgen.models.pxd_gan.sampling import EventGenerator

CONFIG = "config.toml"
WEIGHTS = "generator.weights.h5"
POINT_WEIGHTS = "vae.weights.h5"
POINT_MANIFEST = "points.json"
CALIBRATION = "calibration.npz"
GEOMETRY = "geometry.json"
GRAPH = "saved_model.pb"


@dataclass(frozen=True)
class Trained:
    """A trained generator and where it comes from.

    Attributes:
        name: of the run folder or recipe.
        folder: holds weights, geometry and calibration.
        config: resolved configuration of the run.
        geometry: sensors and charge range.
        generator: (sensor, seed) to charges.
    """

    name: str
    folder: Path
    config: Config
    geometry: Geometry
    generator: EventGenerator

    @property
    def identity(self) -> str:
        """See ``identity``."""
        return identity(checksums(self.folder), self.generator.calibrated)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of what training left in a run folder: weights, and the calibration if it has one."""
    files = [folder / name for name in (WEIGHTS, CALIBRATION)]
    return {f.name: checksum(f) for f in files if f.is_file()}


def identity(sha256: dict[str, str], calibrated: bool) -> str:
    """Twelve digits that differ with the weights, and with the calibration where it is used."""
    used = [sha256[name] for name in sorted(sha256) if calibrated or name != CALIBRATION]
    return hashlib.sha256("".join(used).encode()).hexdigest()[:12]


def load_trained(run: str, calibrated: bool = True) -> Trained:
    """The averaged generator of a run in float32, with spectral norm folded into its kernels.

    Arguments:
        run: a run folder, or the name of a recipe that ships weights.
        calibrated: with the calibration of the run, unless its recipe has none.

    Raises:
        InputError: no such run, not trained to the end, or a file that does not fit.
    """
    folder = find_run(run)
    config = read_config(folder)
    geometry = read_geometry(folder)
    network = load_generator(folder, config, geometry)
    trained = Trained(folder.name, folder, config, geometry, sampler(network, config, geometry))
    return with_calibration(trained) if calibrated and config.calibration.events else trained


def with_calibration(trained: Trained) -> Trained:
    """The same network with the calibration of its folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    config, geometry = trained.config, trained.geometry
    cut, charge = read_calibration(trained.folder, geometry)
    events = sampler(trained.generator.generator, config, geometry, cut, charge)
    return replace(trained, generator=events)


def sampler(
    network: keras.Model, config: Config, geometry: Geometry, cut: Any = None, charge: Any = None
) -> EventGenerator:
    """(sensor, seed) to charges, for the network and configuration of a run."""
    from kerasgen.models.pxd_gan.sampling import EventGenerator

    return EventGenerator(
        network,
        geometry.rows,
        geometry.cols,
        geometry.threshold,
        geometry.max_charge,
        cut,
        charge,
        tuple(config.data.channels),
    )


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model or its versions."""
    return (folder / GRAPH).is_file() or any(
        (p / GRAPH).is_file() for p in folder.glob("[0-9]*") if p.name.isdigit()
    )


def is_point_run(run: Path | str) -> bool:
    """Whether RUN of the command line is a model of point sets, not exported."""
    folder = Path(run)
    if not folder.is_dir():
        folder = shipped().get(str(run), folder)
    return (folder / CONFIG).is_file() and read_config(folder).architecture == SPARSE_VAE


def check_calibration(no_calibration: bool) -> None:
    """Raise InputError if the calibration of a model of point sets is to be left out."""
    if no_calibration:
        raise InputError("--no-calibration: models of point sets have no calibration")


def is_point_model(folder: Path) -> bool:
    """Whether a folder holds an exported model of point sets, or its versions."""
    return any((p / POINT_MANIFEST).is_file() for p in (folder, *folder.glob("[0-9]*")))


def has_weights(folder: Path) -> bool:
    """Whether the weights of a trained model are in a folder."""
    return any((folder / weights).is_file() for weights in (WEIGHTS, POINT_WEIGHTS))


def shipped() -> dict[str, Path]:
    """Folder of each recipe that ships weights, by its name."""
    return {name: recipe.parent for name, recipe in recipes().items() if has_weights(recipe.parent)}


def find_run(run: str) -> Path:
    """The folder that RUN of the command line names.

    Raises:
        InputError: there is none, or nothing has been trained in it yet.
    """
    path = Path(run)
    if path.is_dir():
        path = path.resolve()
        if not (path / CONFIG).is_file():
            raise InputError(f"{run}: no run folder (a run folder holds {CONFIG})")
        if not has_weights(path):
            raise InputError(f"{run}: has no {WEIGHTS} yet, finish it with: train --resume")
        return path
    if path.exists():
        raise InputError(f"{run}: is a file; allowed: a run folder, or a recipe that ships weights")
    with_weights = shipped()
    if run in with_weights:
        return with_weights[run]
    if run in recipes():
        raise InputError(
            f"recipe {run!r} ships no weights: train it and give its run folder, or take one that "
            f"does ({', '.join(with_weights) or 'there is none'})"
        )
    raise InputError(f"no run {run!r}{candidates(run, path.parent)}")


def candidates(run: str, parent: Path) -> str:
    """What RUN may be: run folders in ``runs`` and beside the one asked for, and recipes."""
    found = [str(p.parent) for place in {parent, Path("runs")} for p in place.glob(f"*/{CONFIG}")]
    if not found and not shipped():
        return " (allowed: a run folder, or a recipe that ships weights; there are none here)"
    return nearest(run, [*found, *shipped()])


def read_geometry(folder: Path) -> Geometry:
    """The geometry of a run folder."""
    path = folder / GEOMETRY
    if not path.is_file():
        raise InputError(f"{path}: no such file, the run folder is incomplete")
    return geometry_from_json(path.read_text(encoding="utf-8", errors="replace"), str(path))


def read_calibration(folder: Path, geometry: Geometry) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut and charge table of a run folder, checked.

    Raises:
        InputError: missing, damaged, or of another geometry.
    """
    from kerasgen.models.pxd_gan.sampling import LEVELS

    path = folder / CALIBRATION
    if not path.is_file():
        raise InputError(f"{path}: no such file; --no-calibration goes without")
    try:
        # np.load on a name leaves the file open when it fails.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            cut, charge = file["cut"], file["charge"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
        raise InputError(f"{path}: not a calibration ({type(e).__name__}: {e})") from None
    sensors = len(geometry.sensors)
    if cut.shape != (sensors,) or charge.shape != (sensors, LEVELS) or np.isnan(cut).any():
        raise InputError(
            f"{path}: cut {list(cut.shape)} and charge {list(charge.shape)}, expected [{sensors}] "
            f"without NaN and [{sensors}, {LEVELS}]"
        )
    low, high = int(charge.min()), int(charge.max())
    if low < geometry.threshold or high > geometry.max_charge:
        raise InputError(
            f"{path}: charges {low}..{high} ADU, allowed: {geometry.threshold}.."
            f"{geometry.max_charge} of geometry {geometry.name}"
        )
    return cut, charge


def load_generator(folder: Path, config: Config, geometry: Geometry) -> keras.Model:
    """The network with the weights of the run, spectral norm folded."""
    from kerasgen.models.pxd_gan.build import build_generator

    plain = replace(config.generator, spectral_norm=False)
    channels = max(len(config.data.channels), 1)
    stored, folded = (
        build_generator(config.architecture, settings, geometry, channels, "float32", "generator")
        for settings in (config.generator, plain)
    )
    path = folder / WEIGHTS
    try:
        stored.load_weights(path)
    except Exception as e:  # h5py and Keras raise nearly anything on damaged files
        reason = " ".join(str(e).split())[:160]
        raise InputError(
            f"{path}: damaged, or not the weights of its {CONFIG} ({reason})"
        ) from None
    fold_spectral_norm(stored, folded)
    return folded


def fold_spectral_norm(source: keras.Model, target: keras.Model) -> None:
    """Copy weights into the same network without spectral norm, whose kernels are W / sigma."""
    from kerasgen.layers.spectral import SpectralLayer

    def kernels(model: keras.Model) -> list[SpectralLayer]:
        return [x for x in model._flatten_layers() if isinstance(x, SpectralLayer)]

    weights = [w for w in source.weights if w.name != "u"]
    for ours, theirs in zip(target.weights, weights, strict=True):
        ours.assign(theirs)
    for ours, theirs in zip(kernels(target), kernels(source), strict=True):
        if theirs.spectral_norm:
            ours.kernel.assign(theirs.kernel / theirs.sigma())
