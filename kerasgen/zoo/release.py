"""Release a finished run with its recipe: ``python -m kerasgen.zoo.release RUN``, for maintainers.

Writes ``zoo/<recipe>/``: weights in 16 bit, the files of the algorithm, schema, configuration,
recorded metrics, figures and the generated part of the model card; hand-written text stays. Then,
and alone where no RUN is given, the generated parts of all cards, of the README and of
``docs/results.md`` are written again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasgen.atomic import PARTIAL, partial_name, sweep_partials
from kerasgen.command import Parser, run
from kerasgen.config import RunConfig, as_table, to_toml
from kerasgen.errors import InputError
from kerasgen.evaluation import cards
from kerasgen.evaluation.figure_style import figure_to_png
from kerasgen.evaluation.training_curves import read_log, training_curves
from kerasgen.models.algorithm import algorithm_of
from kerasgen.models.trained import Trained, config_from_table, load_trained, read_config
from kerasgen.run_folder import CONFIG, SCHEMA, WEIGHTS, write_bytes, write_text
from kerasgen.serving.versions import GRAPH
from kerasgen.zoo.catalogue import zoo_folder
from kerasgen.zoo.fp16_weights import write_fp16

METRICS, README, RESULTS = "metrics.json", "README.md", "docs/results.md"


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
        config = without_path(config)
        write_text(made / CONFIG, to_toml(config))
        for name in (SCHEMA, *algorithm_of(config.algorithm).files(config)):
            shutil.copy(folder / name, made / name)
        write_fp16(folder / WEIGHTS, made / WEIGHTS)
        report = sorted((folder / "report").glob("*.png"))
        for figure in report:
            shutil.copy(figure, made / figure.name)
        trained = load_trained(made)
        draw_figures(folder, made, trained)
        record = record_of(folder, made, trained, [p.name for p in report])
        write_text(made / METRICS, json.dumps(record, indent=1, allow_nan=False) + "\n")
        for old in target.glob("*.png"):
            if not (made / old.name).exists():
                old.unlink()
        for path in sorted(made.iterdir(), key=lambda p: p.name == METRICS):
            os.replace(path, target / path.name)
    return target


def without_path(config: RunConfig) -> Any:
    """The configuration with the name alone of a data file: its path is of this machine."""
    whole: Any = config
    source = Path(config.data.source)
    name = source.name if source.is_absolute() else str(source)
    return replace(whole, data=replace(whole.data, source=name))


def finished_config(folder: Path) -> RunConfig:
    """The configuration of a run that has come to its end.

    Raises:
        InputError: it has not, or its report is of another configuration.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder}: no run folder (a run folder holds {CONFIG})")
    config = read_config(folder)
    report = folder / "report" / METRICS
    files = (WEIGHTS, SCHEMA, *algorithm_of(config.algorithm).files(config))
    needed = [folder / name for name in files] + [report]
    missing = [str(path.relative_to(folder)) for path in needed if not path.is_file()]
    exported = list((folder / "exported").glob(f"{config.recipe}/*/{GRAPH}"))
    if missing or not exported:
        lacks = ", ".join(missing) or "exported model"
        raise InputError(f"{folder}: has no {lacks} yet, finish it with: train --resume")
    evaluated = json.loads(report.read_text("utf-8")).get("config")
    if evaluated is None or config_from_table(evaluated) != config:
        raise InputError(f"{report}: is of another configuration than {folder / CONFIG}")
    return config


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target``, which goes in the end."""
    sweep_partials(target.parent.glob(f"{PARTIAL}*"))
    made = partial_name(target)
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made)


def draw_figures(folder: Path, made: Path, trained: Trained) -> None:
    """Training curves, and events of the weights in 16 bit: whether they can be used at all."""
    curves = training_curves(read_log(folder))
    write_bytes(made / "training.png", figure_to_png(curves))
    kind = trained.algorithm.kind
    events = kind.generate(trained, range(kind.example_events), 0)
    write_bytes(made / "sample.png", figure_to_png(kind.plot(events, trained.schema)))


def record_of(folder: Path, made: Path, trained: Trained, figures: list[str]) -> dict[str, Any]:
    """The content of the recorded ``metrics.json``: that of the run's report, and the training.

    Args:
        folder: of the run.
        made: files that are going to be released.
        trained: the model of these files.
        figures: names of the figures of the report.
    """
    config, algorithm = trained.config, trained.algorithm
    document = json.loads((folder / "report" / METRICS).read_text("utf-8"))
    seen, unit = algorithm.examples(config)
    networks = algorithm.networks(config, trained.schema, trained.generator)
    return document | {
        "config": as_table(config),
        "parameters": {name: count_weights(network) for name, network in networks.items()},
        "training": {
            "steps": algorithm.stages(config)[-1][1],
            "stages": dict(algorithm.stages(config)),
            "seen": seen,
            "unit": unit,
            "hours": read_log(folder).hours,
        },
        "weights": {"bytes": (made / WEIGHTS).stat().st_size, "sha256": trained.sha256},
        "published": algorithm.kind.published_numbers(config.data),
        "figures": ["sample.png", *figures],
    }


def count_weights(network: Any) -> int:
    """Number of trainable weights."""
    return sum(int(w.shape.num_elements()) for w in network.trainable_variables)


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
