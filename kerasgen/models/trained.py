"""A trained model of a run folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasgen.config import RunConfig, build, read_toml
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.models.algorithm import Algorithm, algorithm_of
from kerasgen.run_folder import CONFIG, SCHEMA, WEIGHTS


@dataclass(frozen=True)
class Trained:
    """A trained generator and its origin.

    Attributes:
        name: of the run folder or recipe.
        folder: holds weights, schema and the algorithm's own files.
        config: resolved configuration of the run.
        schema: meaning of the numbers of its events.
        generator: from seeds to events.
        calibrated: whether its calibration, if it has one, is applied.
        mask: parts of the detector that are not healthy, see ``DataKind.read_mask``; None: all are.
    """

    name: str
    folder: Path
    config: RunConfig
    schema: Any
    generator: Any
    calibrated: bool
    mask: Any = None

    @property
    def title(self) -> str:
        """Name in reports."""
        return self.name

    @property
    def algorithm(self) -> Algorithm:
        """Its algorithm."""
        return algorithm_of(self.config.algorithm)

    @property
    def identity(self) -> str:
        """Twelve hexadecimal digits that change with any file that generation reads."""
        return identity(self.folder, self.files)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that generate."""
        return WEIGHTS, *self.algorithm.files(self.config, self.calibrated)

    @property
    def sha256(self) -> dict[str, str]:
        """SHA-256 of the files that generation reads, by name."""
        return {name: checksum(self.folder / name) for name in self.files}


def identity(folder: Path, files: tuple[str, ...]) -> str:
    """Twelve hexadecimal digits that change with the content of the files."""
    sums = "".join(checksum(folder / name) for name in sorted(files))
    return hashlib.sha256(sums.encode()).hexdigest()[:12]


def config_from_table(table: dict[str, Any]) -> RunConfig:
    """A checked configuration, of the algorithm that the table names.

    Raises:
        InputError: unknown algorithm or key, a value of the wrong type or out of its range.
    """
    name = table.get("algorithm")
    if not isinstance(name, str):
        raise InputError("algorithm is missing, the name of a training algorithm")
    algorithm = algorithm_of(name)
    config: Any = build(algorithm.config, table)
    algorithm.check(config)
    return config


def read_config(run: Path | str) -> RunConfig:
    """The configuration of a run folder."""
    path = Path(run) / CONFIG
    try:
        return config_from_table(read_toml(path))
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def read_schema(folder: Path, algorithm: Algorithm) -> Any:
    """The schema of the events of a run folder.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = folder / SCHEMA
    if not path.is_file():
        raise InputError(f"{path}: no such file, the run folder is incomplete")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return algorithm.kind.read_schema(text, str(path))


def load_trained(folder: Path, calibrated: bool = True) -> Trained:
    """The generator of a run folder in float32.

    Args:
        folder: of a finished run.
        calibrated: with the calibration of the run, if it has one.

    Raises:
        InputError: not trained to the end, or a file is missing or damaged.
    """
    config = read_config(folder)
    algorithm = algorithm_of(config.algorithm)
    schema = read_schema(folder, algorithm)
    calibrated = calibrated and "calibrated" in algorithm.variants(config)
    generator = algorithm.load(folder, config, schema, calibrated)
    return Trained(folder.resolve().name, folder, config, schema, generator, calibrated)
