"""The SavedModel or ONNX model of a run: ``kerasgen export RUN``, the next free version."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from kerasgen.command import Parser, check_folder, run
from kerasgen.errors import InputError
from kerasgen.keras_import import check_tensorflow, is_installed
from kerasgen.models.trained import Trained


def main(argv: list[str] | None = None) -> int:
    """Command ``export``; see the module."""
    parser = Parser(prog="kerasgen export", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run folder, or recipe with released weights")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("exported"),
        metavar="DIR",
        help="gets <recipe>/<version>/ (default: exported)",
    )
    parser.add_argument(
        "--no-calibration", action="store_true", help="leave the calibration of the run out"
    )
    parser.add_argument(
        "--format", choices=("saved_model", "onnx"), default="saved_model",
        help="onnx goes to onnx/<recipe>/<version>/ (default: saved_model)",
    )  # fmt: skip
    parser.add_argument(
        "--signature", action="append", metavar="NAME",
        help="with --format onnx: write this signature alone; may be repeated (default: all)",
    )  # fmt: skip
    a = parser.parse_args(argv)
    check_folder(a.out, "--out")
    check_tensorflow("kerasgen export")
    if a.format == "onnx":
        check_converter()
    elif a.signature:
        raise InputError("--signature goes with --format onnx")
    from kerasgen.zoo.lookup import check_calibration, load_run

    if a.no_calibration:
        check_calibration(a.run)
    trained = load_run(a.run, not a.no_calibration)
    write = write_onnx if a.format == "onnx" else write_saved_model
    print(f"{write(trained, a)}: written")
    return 0


def check_converter() -> None:
    """Raise InputError unless the packages that write ONNX are installed."""
    missing = [name for name in ("onnx", "tf2onnx") if not is_installed(name)]
    if missing:
        raise InputError(
            f"--format onnx: needs {' and '.join(missing)}: pip install 'kerasgen[onnx]'"
        )


def write_saved_model(trained: Trained, a: Namespace) -> Path:
    """Write the SavedModel; returns its folder."""
    from kerasgen.serving.saved_model import export_model

    return export_model(trained, a.out, trained.config.recipe)


def write_onnx(trained: Trained, a: Namespace) -> Path:
    """Write the ONNX model and say which signatures are left out; returns its folder."""
    from kerasgen.serving.onnx_export import export_onnx

    folder, left_out = export_onnx(trained, a.out, trained.config.recipe, a.signature)
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}")
    return folder


if __name__ == "__main__":
    raise SystemExit(run(main))
