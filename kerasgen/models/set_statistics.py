"""Statistics of the training sets: the normaliser of the networks and the table of conditions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.atomic import write_atomic
from kerasgen.data.point_source import WINDOW, PointDataSettings
from kerasgen.data.points import PointSets, multiplicity
from kerasgen.errors import InputError
from kerasgen.kinds.points import PointData, is_jets
from kerasgen.models.set_files import CONDITIONS, NORMALISER
from kerasgen.models.set_normaliser import Normaliser, fit_normaliser, normaliser_from_json
from kerasgen.run_folder import write_text

MAX_CONDITIONS = 100_000  # rows of the table of conditions
COLUMNS = ("label", "count", "total", "jet")


@dataclass(frozen=True)
class Fitted:
    """Statistics of the training sets.

    Attributes:
        normaliser: scale and condition of the networks.
        conditions: columns of ``condition_table``.
    """

    normaliser: Normaliser
    conditions: dict[str, NDArray[np.generic]]


def fit_statistics(
    settings: PointDataSettings,
    data: PointData,
    pt: bool,
    total: bool = False,
    quantiles: bool = False,
) -> Fitted:
    """The statistics of the training sets, of at most ``WINDOW`` sets.

    Args:
        settings: recipe keys of the data.
        data: open sets.
        pt, total, quantiles: see ``fit_normaliser``.
    """
    sets = data.training_events(WINDOW)
    coordinates = settings.coordinates if is_jets(data.schema) else "image"
    normaliser = fit_normaliser(sets, coordinates, settings.log_intensity, pt, total, quantiles)
    return Fitted(normaliser, condition_table(sets))


def condition_table(sets: PointSets) -> dict[str, NDArray[Any]]:
    """Table of conditions for generated sets: those of the first training sets, sorted by class.

    Args:
        sets: training sets.

    Returns:
        ``label``, ``count`` and ``total``, points before the cut to P, int32 [n]; ``jet`` float32
        [n, 2], pT in GeV and eta of jets, zeros where there are none.
    """
    rows = np.argsort(sets.label[:MAX_CONDITIONS], kind="stable")
    jet = np.zeros((len(rows), 2), np.float32)
    if sets.features.shape[1] >= 2:
        jet = sets.features[rows, :2]
    values = sets.label, sets.counts, multiplicity(sets)
    label, count, total = (x[rows].astype(np.int32) for x in values)
    return {"label": label, "count": count, "total": total, "jet": jet}


def write_fitted(folder: Path, fitted: Fitted) -> None:
    """Write the statistics into a run folder."""
    text = fitted.normaliser.to_json()
    arrays: dict[str, Any] = fitted.conditions
    write_text(folder / NORMALISER, text)
    write_atomic(folder / CONDITIONS, lambda partial: np.savez_compressed(partial, **arrays))


def read_fitted(folder: Path) -> Fitted:
    """The inverse of ``write_fitted``.

    Raises:
        InputError: a file is missing or damaged.
    """
    try:
        scale = normaliser_from_json((folder / NORMALISER).read_text("utf-8"))
        with open(folder / CONDITIONS, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return Fitted(scale, {name: file[name] for name in COLUMNS})
    except Exception as e:  # damaged files reach zipfile, zlib, tokenize and more
        raise InputError(
            f"{folder}: {NORMALISER} or {CONDITIONS} is missing or damaged "
            f"({type(e).__name__}: {e})"
        ) from None


def check_released(normaliser: Normaliser, folder: Path, init: str) -> None:
    """Raise InputError if released weights are of other sets than those that train.

    Args:
        normaliser: of the training sets.
        folder: of the released weights.
        init: the recipe key ``training.init``.
    """
    released = read_fitted(folder).normaliser
    for name in ("size", "classes"):
        here, there = getattr(normaliser, name), getattr(released, name)
        if here != there:
            raise InputError(
                f"training.init = {init!r}: {name} of the data {here}, of the released weights "
                f"{there}"
            )
