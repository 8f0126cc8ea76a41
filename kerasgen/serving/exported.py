"""An exported model as its manifest describes it, whatever program runs its signatures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasgen.errors import InputError
from kerasgen.models.algorithm import Algorithm, algorithm_of
from kerasgen.serving.versions import MANIFEST


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        name: of the run that it was exported from.
        algorithm: that trained it.
        schema: meaning of the numbers of its events.
        generator: its signatures.
        calibrated: whether its calibration, if it has one, is applied.
        variants: of its algorithm and configuration, see ``Algorithm.variants``.
        identity: twelve hexadecimal digits that depend on all files used by generation.
        mask: parts of the detector that are not healthy, see ``DataKind.read_mask``; None: all are.
    """

    name: str
    algorithm: Algorithm
    schema: Any
    generator: Any
    calibrated: bool
    variants: tuple[str, ...]
    identity: str
    mask: Any = None

    @property
    def title(self) -> str:
        """Name in reports."""
        return f"{self.name} (exported)"


def described(folder: Path, table: dict[str, Any], generator: Any) -> Exported:
    """The exported model of a manifest.

    Args:
        folder: of the version.
        table: its manifest.
        generator: its signatures, loaded.

    Raises:
        InputError: the manifest is damaged, or names an algorithm that is not there.
    """
    path = folder / MANIFEST
    try:
        algorithm = algorithm_of(str(table["algorithm"]))
    except InputError as e:
        raise InputError(f"{path}: {e}") from None
    schema = algorithm.kind.read_schema(json.dumps(table["schema"]), str(path))
    try:
        name, calibrated = str(table["name"]), bool(table["calibrated"])
        variants, identity = tuple(map(str, table["variants"])), str(table["identity"])
    except TypeError as e:
        raise not_a_manifest(path, e) from None
    return Exported(name, algorithm, schema, generator, calibrated, variants, identity)


def attributes_and_files(
    folder: Path, table: dict[str, Any]
) -> tuple[dict[str, tuple[Any, ...]], dict[str, str]]:
    """The attributes of a generator that a manifest may name, and the checksums of its files.

    Raises:
        InputError: others, or values of another type.
    """
    try:
        attributes, files = table["attributes"], dict(table["files"])
        found: dict[str, tuple[Any, ...]] = {}
        found["conditions"] = tuple(map(str, attributes["conditions"]))
        if "types" in attributes:
            found["types"] = tuple(int(x) for x in attributes["types"])
    except (ValueError, KeyError, TypeError) as e:
        raise not_a_manifest(folder / MANIFEST, e) from None
    return found, files


def not_a_manifest(path: Path, error: Exception) -> InputError:
    """What to raise where the content of a manifest is damaged."""
    return InputError(f"{path}: not a manifest ({type(error).__name__}: {error})")
