"""The folder of an exported model, ``<folder>/<name>/<version>/``: versions and manifests."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasgen.atomic import (
    make_folder,
    missing_folders,
    partial_name,
    refused_writes,
    remove_empty,
)
from kerasgen.data.store import checksum
from kerasgen.errors import InputError

GRAPH = "saved_model.pb"
ONNX_GRAPH = "model.onnx"
MANIFEST = "manifest.json"
REPORT = "metrics.json"
# Keys that loading needs.
MANIFEST_KEYS = (
    "name",
    "algorithm",
    "schema",
    "calibrated",
    "variants",
    "identity",
    "attributes",
    "files",
)
HIGHEST = 2**63 - 1  # number of a version
# Errors of a rename to an existing target.
EXISTS = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported SavedModel or its versions."""
    return folder.is_dir() and any(
        (p / GRAPH).is_file() for p in (folder, *versions(folder).values())
    )


def is_onnx(folder: Path) -> bool:
    """Whether a folder holds an exported ONNX model or its versions."""
    return folder.is_dir() and any(
        any(p.glob("*.onnx")) for p in (folder, *versions(folder).values())
    )


def newest_version(folder: Path, graph: str = GRAPH) -> Path:
    """The folder of the newest complete version.

    Args:
        folder: of the versions of a model, or of one version, which is returned.
        graph: name of the file that a complete version has.

    Raises:
        InputError: there is no complete version.
    """
    if (folder / graph).is_file():
        return folder
    found = versions(folder) if folder.is_dir() else {}
    complete = {n: p for n, p in found.items() if (p / graph).is_file()}
    if not complete:
        raise InputError(f"{folder}: holds no exported model (no {graph})")
    return complete[max(complete)]


def versions(folder: Path) -> dict[int, Path]:
    """Folders of the versions of a model, by number, as TensorFlow Serving reads their names.

    Leading zeros do not count (of two names of one number the shorter is taken); a number beyond
    int64 is no version.
    """
    names = [p.name for p in folder.iterdir() if re.fullmatch("[0-9]+", p.name)]
    longest_first = sorted(names, key=len, reverse=True)
    return {int(x): folder / x for x in longest_first if int(x) <= HIGHEST}


def new_version(folder: Path, write: Callable[[Path], None]) -> Path:
    """Create the next free version of a model; existing versions are never touched.

    Args:
        folder: of the model, made if missing; if no version comes of it, it goes again.
        write: writes the files of the version into an empty folder.

    Returns:
        The folder of the new version.

    Raises:
        InputError: ``folder`` cannot be a folder.
        OSError: it cannot be written; names it.
    """
    missing = missing_folders(folder)
    try:
        make_folder(folder)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: a folder is needed, a file is in its place") from None
    try:
        with refused_writes(folder):
            # Model servers ignore folders whose names are not numbers.
            partial = Path(tempfile.mkdtemp(prefix=partial_name(folder).name, dir=folder))
            try:
                write(partial)
                partial.chmod(0o755)
                return claim_version(partial, folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except BaseException:
        remove_empty(missing)
        raise


def claim_version(partial: Path, folder: Path) -> Path:
    """Rename a complete version to the next free number; safe with concurrent exports.

    Args:
        partial: folder of the complete version.
        folder: of the model.

    Returns:
        The folder of the version.

    Raises:
        InputError: the highest number is taken.
    """
    while True:
        number = max([0, *versions(folder)]) + 1
        if number > HIGHEST:
            raise InputError(f"{folder}: the version {HIGHEST} is there, no number is left")
        version = folder / str(number)
        try:
            os.rename(partial, version)
            return version
        except OSError as e:
            if e.errno not in EXISTS:
                raise


def last_report(folder: Path) -> dict[str, Any]:
    """The last ``metrics.json`` of a run folder or recipe; empty if there is none.

    Raises:
        InputError: the file is damaged.
    """
    for path in (folder / "report" / REPORT, folder / REPORT):
        if path.is_file():
            try:
                return dict(json.loads(path.read_text("utf-8")))
            except ValueError as e:
                raise InputError(f"{path}: damaged ({e})") from None
    return {}


def read_manifest(version: Path) -> dict[str, Any]:
    """The manifest of a version.

    Raises:
        InputError: the manifest is missing or damaged.
    """
    path = version / MANIFEST
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in MANIFEST_KEYS if key not in table]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, it comes with every exported model") from None
    except (ValueError, TypeError) as e:
        raise InputError(f"{path}: not a manifest ({type(e).__name__}: {e})") from None
    if missing:
        raise InputError(f"{path}: not a manifest ({', '.join(missing)} missing)")
    return dict(table)


def file_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a model except its manifest: {path in the folder: hexadecimal}."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".json")
    return {str(p.relative_to(folder)): checksum(p) for p in paths}


def check_files(folder: Path, expected: dict[str, str], manifest: str) -> None:
    """Raise InputError unless a model has the files that its manifest names, unchanged.

    Args:
        folder: of the version.
        expected: SHA-256 by path in the folder.
        manifest: name of the manifest, for messages.
    """
    for name, value in expected.items():
        if not (folder / name).is_file():
            raise InputError(f"{folder}: incomplete, {name} is missing")
        if checksum(folder / name) != value:
            raise InputError(f"{folder}: damaged, {name} is not the file that {manifest} names")
