"""The SavedModel of a run: ``kerasgen export RUN [--out exported/]``, the next free version."""

from __future__ import annotations

from pathlib import Path

from kerasgen.command import Parser, check_folder, run
from kerasgen.keras_import import check_tensorflow


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
    a = parser.parse_args(argv)
    check_folder(a.out, "--out")
    check_tensorflow("kerasgen export")
    from kerasgen.serving.saved_model import export_model
    from kerasgen.zoo.lookup import check_calibration, load_run

    if a.no_calibration:
        check_calibration(a.run)
    trained = load_run(a.run, not a.no_calibration)
    print(f"{export_model(trained, a.out, trained.config.recipe)}: written")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
