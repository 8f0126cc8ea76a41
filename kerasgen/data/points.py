"""Point sets (superpixels of an image, constituents of a jet) in memory.

The points of a set are sorted by falling intensity; zero-valued, masked padding follows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.errors import InputError, nearest

TYPES = {"points": np.float32, "mask": np.bool_, "label": np.uint8, "features": np.float32}


@dataclass(frozen=True)
class PointSchema:
    """Schema of point sets: names and units of their numbers.

    Attributes:
        name: "superpixels" or "jets".
        coordinates: names of the three coordinates of a point: two of position, one of
            intensity.
        features: names of the features of a set.
        classes: names of the labels 0, 1, ...
        units: units of coordinates and features, as text.
    """

    name: str
    coordinates: tuple[str, str, str]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    units: str = ""

    def to_json(self) -> str:
        """Write the schema as JSON; ``schema_from_json`` reads it."""
        return json.dumps(asdict(self))


def schema_from_json(text: str, origin: str) -> PointSchema:
    """Read the schema of a file from its JSON.

    Raises:
        InputError: not the JSON of a schema; names ``origin``.
    """
    try:
        table = json.loads(text)
        lists = {k: tuple(map(str, table[k])) for k in ("coordinates", "features", "classes")}
        x, y, intensity = lists["coordinates"]
    except (ValueError, KeyError, TypeError) as e:
        reason = f"{type(e).__name__}: {e}"
        raise InputError(f"{origin}: not the schema of point sets ({reason})") from None
    schema = PointSchema(
        str(table.get("name")), (x, y, intensity), lists["features"], lists["classes"],
        str(table.get("units", "")),
    )  # fmt: skip
    if not schema.classes or len(schema.classes) > 256:
        raise InputError(f"{origin}: point sets have 1 to 256 classes")
    return schema


@dataclass(frozen=True)
class PointSets:
    """Batch of n point sets with at most P points each.

    Attributes:
        points: float32 [n, P, 3]; padding is zero.
        mask: bool [n, P], true for points; points precede padding.
        label: uint8 [n], index of the class.
        features: float32 [n, F].
    """

    points: NDArray[np.float32]
    mask: NDArray[np.bool_]
    label: NDArray[np.uint8]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of points of each set, int64 [n]."""
        return self.mask.sum(axis=1)

    def take(self, index: Any) -> PointSets:
        """Select sets by index array, slice or boolean mask."""
        return PointSets(*(getattr(self, name)[index] for name in TYPES))


def multiplicity(sets: PointSets) -> NDArray[np.float32]:
    """Multiplicity: number of points before truncation to P, [n].

    It is the last feature of superpixels and of jets. Without features, it is the number of
    stored points, which is also its lower bound.
    """
    counts = sets.counts.astype(np.float32)
    return np.maximum(sets.features[:, -1], counts) if sets.features.shape[1] else counts


def concatenate(parts: Iterable[PointSets]) -> PointSets:
    """Concatenate the sets of all parts."""
    parts = list(parts)
    return PointSets(*(np.concatenate([getattr(p, name) for p in parts]) for name in TYPES))


def build_point_sets(
    points: NDArray[Any], counts: NDArray[Any], label: NDArray[Any], features: NDArray[Any]
) -> PointSets:
    """Build point sets from padded points, keeping their order.

    Args:
        points: [n, P, 3], padded points.
        counts: [n], number of points of each set.
        label: [n], index of the class.
        features: [n, F].
    """
    mask = np.arange(points.shape[1]) < np.asarray(counts)[:, None]
    with np.errstate(over="ignore"):  # to infinity, which check_sets refuses
        return PointSets(
            np.where(mask[..., None], points, 0).astype(np.float32),
            mask,
            label.astype(np.uint8),
            features.astype(np.float32).reshape(len(label), -1 if len(label) else 0),
        )


class NonEmpty:
    """Blocks of sets without the sets that have no points, which are counted.

    Args:
        blocks: the sets.
        schema: schema of the sets.
        origin: file or source, the start of the error message.

    Attributes:
        kept, left_out: numbers of sets with and without points among those that were read.

    Raises:
        InputError: at the end of the blocks, if no set had points.
    """

    def __init__(self, blocks: Iterable[PointSets], schema: PointSchema, origin: str) -> None:
        self.blocks = blocks
        self.schema = schema
        self.origin = origin
        self.parts = "constituents" if schema.name == "jets" else "points"
        self.kept = self.left_out = 0

    def __iter__(self) -> Iterator[PointSets]:
        for sets in self.blocks:
            kept = sets.mask.any(axis=1)
            self.kept += int(kept.sum())
            self.left_out += int((~kept).sum())
            if kept.any():
                yield sets if kept.all() else sets.take(kept)
        if not self.kept:
            name = self.schema.name
            found = f"none of its {self.left_out} {name} has {self.parts}"
            raise InputError(
                f"{self.origin}: {found if self.left_out else f'empty, there are no {name}'}"
            )

    def summary(self) -> str:
        """What is left out, as the end of a line; empty if nothing is."""
        if not self.left_out:
            return ""
        read = self.kept + self.left_out
        return f"; {self.left_out} of {read} {self.schema.name} left out: no {self.parts}"


def check_sets(sets: PointSets, schema: PointSchema, origin: str, first: int = 0) -> None:
    """Raise InputError if sets violate the layout of this module or their schema.

    ``first`` is the number of the first set in its file, for the error message.
    """
    n, size = sets.points.shape[:2]
    shapes = {
        "points": (n, size, 3), "mask": (n, size), "label": (n,),
        "features": (n, len(schema.features)),
    }  # fmt: skip
    for name, dtype in TYPES.items():
        values = getattr(sets, name)
        if values.dtype != dtype or values.shape != shapes[name]:
            raise InputError(
                f"{origin}: {name} is {values.dtype} {list(values.shape)}, expected "
                f"{np.dtype(dtype)} {list(shapes[name])}"
            )
    check_numbers(sets, schema, origin, first)
    problems = {
        "has no points": ~sets.mask.any(1),
        "has a point after its padding": (sets.mask[:, 1:] & ~sets.mask[:, :-1]).any(1),
        "has padding that is not zero": (sets.points * ~sets.mask[..., None]).any((1, 2)),
        f"has a label that is none of the {len(schema.classes)} classes": sets.label
        >= len(schema.classes),
        f"has a negative {schema.coordinates[2]}": (sets.points[..., 2] < 0).any(1),
    }
    for problem, bad in problems.items():
        if bad.any():
            raise InputError(f"{origin}: set {first + int(np.argmax(bad))} {problem}")


def check_numbers(sets: PointSets, schema: PointSchema, origin: str, first: int) -> None:
    """Raise InputError for the first number that is not finite; arguments as ``check_sets``."""
    bad_points = ~np.isfinite(sets.points)
    bad = bad_points.any((1, 2)) | ~np.isfinite(sets.features).all(1)
    if not bad.any():
        return
    i = int(np.argmax(bad))
    if bad_points[i].any():
        row, k = (int(x) for x in np.argwhere(bad_points[i])[0])
        what = f"{schema.coordinates[k]} of point {row} is {sets.points[i, row, k]}"
    else:
        k = int(np.argmin(np.isfinite(sets.features[i])))
        what = f"{schema.features[k]} is {sets.features[i, k]}"
    raise InputError(
        f"{origin}: set {first + i} has a point or feature that is not a finite number ({what})"
    )


def choose_classes(names: Iterable[str], schema: PointSchema, origin: str) -> list[int]:
    """Labels of the named classes; of all classes without names.

    Raises:
        InputError: an unknown class.
    """
    names = list(names) or list(schema.classes)
    for name in names:
        if name not in schema.classes:
            raise InputError(f"{origin}: unknown class {name!r}{nearest(name, schema.classes)}")
    return [schema.classes.index(name) for name in names]
