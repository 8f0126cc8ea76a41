"""Release a finished run with its recipe: ``python -m kerasgen.zoo.release RUN``, for maintainers.

Writes ``zoo/<recipe>/``: weights in 16 bit, the files of the algorithm, schema, configuration,
recorded metrics, figures and the generated part of the model card; hand-written text stays. Then,
and alone where no RUN is given, the generated parts of all cards, of the README and of
``docs/results.md`` are written again.
"""

from __future__ import annotations

import os
from pathlib import Path

from kerasgen.command import Parser, run
from kerasgen.errors import InputError
from kerasgen.evaluation import cards
from kerasgen.run_folder import write_text
from kerasgen.serving.versions import REPORT
from kerasgen.zoo.catalogue import zoo_folder
from kerasgen.zoo.release_files import finished_config, staging, write_release

README, RESULTS = "README.md", "docs/results.md"


def release(folder: Path, zoo: Path) -> Path:
    """Copy everything that a recipe releases of a finished run into ``zoo/<recipe>/``.

    Files are made and tried in a folder beside it, and moved in one after another, the record
    last: where that is cut short, the same command does it again.

    Args:
        folder: of the run, evaluated with as many events and studies as are to be recorded.
        zoo: folder of the recipes.

    Raises:
        InputError: not a finished run, no such recipe, or weights that cannot be released.
    """
    config = finished_config(folder)
    target = zoo / config.recipe
    if not (target / "recipe.toml").is_file():
        raise InputError(f"{folder}: of recipe {config.recipe!r}, which is not in {zoo}")
    with staging(target) as made:
        write_release(folder, made, config)
        for old in target.glob("*.png"):
            if not (made / old.name).exists():
                old.unlink()
        for path in sorted(made.iterdir(), key=lambda p: p.name == REPORT):
            os.replace(path, target / path.name)
    return target


def renew(zoo: Path, root: Path) -> None:
    """Write the generated parts of all model cards, of the README and of the results page again.

    Args:
        zoo: folder of the recipes.
        root: folder of the documents; one that is not there, as beside an installed wheel, is
            left out.

    Raises:
        InputError: a text has no markers.
    """
    records = cards.recorded_metrics(zoo)
    for name, record in records.items():
        path = zoo / name / README
        description = record["config"]["description"]
        text = cards.TEMPLATE.format(name=name, description=description)
        text = path.read_text("utf-8") if path.is_file() else text
        write_text(path, cards.between_markers(text, cards.model_card(record), str(path)))
    for name, results in ((README, cards.results_table), (RESULTS, cards.results_section)):
        path = root / name
        if path.is_file():
            text = path.read_text("utf-8")
            write_text(path, cards.between_markers(text, results(records), str(path)))


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = Parser(
        prog="python -m kerasgen.zoo.release", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "run", type=Path, nargs="?", metavar="RUN",
        help="finished run folder; without it model cards, README and results are written again",
    )  # fmt: skip
    parser.add_argument(
        "--zoo", type=Path, default=zoo_folder(), metavar="DIR", help="folder of the recipes"
    )
    a = parser.parse_args(argv)
    if a.run is not None:
        print(f"{release(a.run, a.zoo)}: released")
    renew(a.zoo, a.zoo.parent)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
