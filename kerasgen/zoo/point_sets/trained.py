"""A trained sparse VAE, from a run folder."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasgen.atomic import write_atomic
from kerasgen.data.points import PointForm, form_from_json
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.zoo.config import read_config
from kerasgen.zoo.point_sets.config import VAEConfig
from kerasgen.zoo.trained import GEOMETRY, POINT_WEIGHTS

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.sampling import PointGenerator
    from kerasgen.models.sparse_vae.units import Units

NO_PT = "was trained without network.pt, it knows no --pt"
UNITS, TABLE = "units.json", "conditions.npz"


@dataclass(frozen=True)
class TrainedPoints:
    """A trained generator of point sets and where it comes from.

    Attributes:
        name: of the run folder.
        folder: holds weights, units and conditions.
        config: resolved configuration of the run.
        form: what the numbers of its sets mean.
        generator: from seeds to point sets.
    """

    name: str
    folder: Path
    config: VAEConfig
    form: PointForm
    generator: PointGenerator


def write_fitted(folder: Path, units: Units, table: dict[str, Any]) -> None:
    """Keep what was taken from the training data: units and conditions."""
    write_atomic(folder / UNITS, lambda partial: partial.write_text(units.to_json(), "utf-8"))
    write_atomic(folder / TABLE, lambda partial: np.savez_compressed(partial, **table))


def read_fitted(folder: Path) -> tuple[Units, dict[str, Any]]:
    """The inverse of ``write_fitted``.

    Raises:
        InputError: missing or damaged.
    """
    from kerasgen.models.sparse_vae.units import units_from_json

    try:
        units = units_from_json((folder / UNITS).read_text("utf-8"))
        with open(folder / TABLE, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return units, {name: file[name] for name in ("label", "count", "total", "jet")}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as e:
        raise InputError(
            f"{folder}: {UNITS} or {TABLE} is missing or damaged ({type(e).__name__}: {e})"
        ) from None


def load_trained_points(folder: Path) -> TrainedPoints:
    """The networks of a run in float32.

    Raises:
        InputError: not trained to the end, or a file that does not fit.
    """
    from kerasgen.models.sparse_vae.sampling import PointGenerator
    from kerasgen.models.sparse_vae.vae import SparseVAE
    from kerasgen.training.vae_trainer import Networks

    config = read_config(folder)
    units, table = read_fitted(folder)
    form = form_from_json((folder / GEOMETRY).read_text("utf-8"), str(folder / GEOMETRY))
    vae = SparseVAE(units, config.network, config.prior, config.loss)
    try:
        Networks(vae).load_weights(folder / POINT_WEIGHTS)
    except Exception as e:  # h5py and Keras raise nearly anything on damaged files
        reason = " ".join(str(e).split())[:160]
        raise InputError(
            f"{folder / POINT_WEIGHTS}: damaged, or not the weights of its configuration ({reason})"
        ) from None
    generator = PointGenerator(vae, table, units.size, config.network.latent_size)
    return TrainedPoints(folder.resolve().name, folder, config, form, generator)


def manifest(trained: TrainedPoints) -> dict[str, Any]:
    """Where an exported model comes from, and what its numbers mean."""
    weights = [trained.folder / name for name in (POINT_WEIGHTS, UNITS, TABLE)]
    return {
        "name": trained.name,
        "recipe": trained.config.recipe,
        "form": asdict(trained.form),
        "points": trained.generator.size,
        "config": asdict(trained.config),
        "sha256": {f.name: checksum(f) for f in weights},
        "versions": {name: metadata.version(name) for name in ("kerasgen", "keras", "tensorflow")},
    }


def read_manifest(path: Path) -> tuple[PointForm, str, dict[str, str]]:
    """Form, name and checksums of the files of an exported model.

    Raises:
        InputError: missing or damaged.
    """
    try:
        table = json.loads(path.read_text("utf-8"))
        form = form_from_json(json.dumps(table["form"]), str(path))
        return form, str(table["name"]), dict(table["files"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path}: not a manifest ({type(e).__name__}: {e})") from None
