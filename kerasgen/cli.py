"""The console script: ``kerasgen <command> ...``.

``kerasgen train ...`` and ``python -m kerasgen.zoo.train ...`` run the same ``main``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module, metadata

from kerasgen.command import Parser, run
from kerasgen.errors import InputError, nearest

# command: (module with ``main``, one line of help)
COMMANDS = {
    "list": ("kerasgen.zoo.list", "the recipes: name, data, parameters, recorded metrics"),
    "train": ("kerasgen.zoo.train", "train a recipe, evaluate it and export it"),
    "pack": ("kerasgen.zoo.pack", "the travel form of a run, to go on elsewhere"),
    "evaluate": ("kerasgen.zoo.evaluate", "metrics of a run, or of one file against another"),
    "generate": ("kerasgen.zoo.generate", "sample events from a trained model"),
    "overlay": ("kerasgen.zoo.overlay", "add generated background to signal events"),
    "tune": ("kerasgen.tuning.search", "search the best values of recipe keys"),
    "export": ("kerasgen.zoo.export", "write the SavedModel of a run"),
    "release": ("kerasgen.zoo.publish", "write a model as a hub expects it, or upload it"),
    "simulate": ("kerasgen.data.simulate", "Geant4, the fast PXD simulator, Pythia"),
    "convert": ("kerasgen.data.convert", "detector files to kerasgen HDF5, and back to ROOT"),
}


def _version() -> str:
    try:
        return metadata.version("kerasgen")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _dispatch(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    width = max(map(len, COMMANDS))
    parser = Parser(
        prog="kerasgen",
        description="Generative models of sparse detector data.",
        usage="kerasgen [-h] [--version] command ...",
        epilog="commands:\n"
        + "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items())
        + "\n\nkerasgen <command> --help explains one command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kerasgen {_version()}")
    parser.add_argument("command", choices=COMMANDS, nargs="?", help=argparse.SUPPRESS)
    command = parser.parse_args(arguments[:1]).command
    if command is None:
        raise InputError(f"no command given{nearest('', COMMANDS)}")
    # Imported only now: --help and a misspelt command must not wait for TensorFlow.
    return import_module(COMMANDS[command][0]).main(arguments[1:])


def main(argv: list[str] | None = None) -> int:
    """The console script ``kerasgen``."""
    return run(_dispatch, argv)


if __name__ == "__main__":
    raise SystemExit(main())
