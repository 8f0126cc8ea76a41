"""The SavedModel of a run: ``kerasgen export RUN [--out exported/]``, the next free version."""

from __future__ import annotations

from pathlib import Path

from kerasgen.cli import Parser, check_folder, run
from kerasgen.zoo.trained import check_calibration, find_run, is_point_run, load_trained


def main(argv: list[str] | None = None) -> int:
    """Command ``export``; see the module."""
    parser = Parser(prog="kerasgen export", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="run folder, or recipe that ships weights")
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
    folder = find_run(a.run)
    if is_point_run(folder):
        from kerasgen.serving.point_model import export_point_model
        from kerasgen.zoo.point_sets.trained import load_trained_points

        check_calibration(a.no_calibration)
        points = load_trained_points(folder)
        print(f"{export_point_model(points, a.out, points.config.recipe)}: written")
        return 0
    from kerasgen.serving.saved_model import export_saved_model  # imports TensorFlow

    trained = load_trained(a.run, calibrated=not a.no_calibration)
    folder = export_saved_model(trained, a.out, trained.config.recipe)
    print(f"{folder}: written")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
