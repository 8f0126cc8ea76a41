"""The files of a finished run that are released: in the zoo, or in the folder of a hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasgen.atomic import PARTIAL, partial_name, sweep_partials
from kerasgen.config import RunConfig, as_table, to_toml
from kerasgen.errors import InputError
from kerasgen.evaluation.figure_style import figure_to_png
from kerasgen.evaluation.training_curves import read_log, training_curves
from kerasgen.models.algorithm import algorithm_of
from kerasgen.models.trained import Trained, config_from_table, load_trained, read_config
from kerasgen.run_folder import CONFIG, SCHEMA, WEIGHTS, write_bytes, write_text
from kerasgen.serving.versions import GRAPH, REPORT
from kerasgen.zoo.fp16_weights import write_fp16


def write_release(folder: Path, made: Path, config: RunConfig) -> dict[str, Any]:
    """Write weights in 16 bit, the other files that generate, figures and the record of a run.

    Args:
        folder: of the run.
        made: an empty folder.
        config: of the run, see ``finished_config``.

    Returns:
        The record, the content of ``metrics.json``.

    Raises:
        InputError: weights that cannot be released.
    """
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
    write_text(made / REPORT, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return record


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
    report = folder / "report" / REPORT
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
    """An empty folder beside ``target``, which goes in the end unless it has been renamed."""
    sweep_partials(target.parent.glob(f"{PARTIAL}*"))
    made = partial_name(target)
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)  # it may have become ``target``


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
    document = json.loads((folder / "report" / REPORT).read_text("utf-8"))
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
