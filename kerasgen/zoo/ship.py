"""Ship a finished run with its recipe: ``python -m kerasgen.zoo.ship RUN``, for maintainers.

Writes ``zoo/<recipe>/``: weights in 16 bit, calibration, geometry, configuration, recorded metrics,
pictures and the generated part of the model card; what was written by hand stays. Then, and alone
where no RUN is given, the generated parts of all cards and of the README are made anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kerasgen.atomic import PARTIAL, partial_name, sweep_partials
from kerasgen.cli import Parser, run
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.training.run_folder import write_bytes, write_text
from kerasgen.zoo import card
from kerasgen.zoo.catalogue import zoo_folder
from kerasgen.zoo.compact import write_compact
from kerasgen.zoo.config import SPARSE_VAE, from_table, read_config, to_toml
from kerasgen.zoo.models import generate, load, plot
from kerasgen.zoo.pictures import figure_to_png
from kerasgen.zoo.point_sets.trained import TABLE, UNITS
from kerasgen.zoo.trained import CALIBRATION, CONFIG, GEOMETRY, GRAPH, POINT_WEIGHTS, WEIGHTS

METRICS, README = "metrics.json", "README.md"


def ship(folder: Path, zoo: Path) -> Path:
    """Everything of a finished run that its recipe ships, into ``zoo/<recipe>/``.

    Files are made and tried in a folder beside it, and moved in one after another, the record
    last: where that is cut short, the same command does it again.

    Args:
        folder: of the run, evaluated with as many events and studies as are to be recorded.
        zoo: folder of the recipes.

    Raises:
        InputError: not a finished run, no such recipe, or weights that cannot be shipped.
    """
    config = finished(folder)
    target = zoo / config.recipe
    if not (target / "recipe.toml").is_file():
        raise InputError(f"{folder}: of recipe {config.recipe!r}, which is not in {zoo}")
    with staging(target) as made:
        source = Path(config.data.source)  # of a machine's path the name is enough
        data = replace(config.data, source=source.name if source.is_absolute() else str(source))
        config = replace(config, data=data)
        write_text(made / CONFIG, to_toml(config))
        for name in kept(config):
            shutil.copy(folder / name, made / name)
        weights = weights_name(config)
        write_compact(folder / weights, made / weights)
        report = sorted((folder / "report").glob("*.png"))
        for picture in report:
            shutil.copy(picture, made / picture.name)
        draw(folder, made)
        record = record_of(folder, made, config, [p.name for p in report])
        write_text(made / METRICS, json.dumps(record, indent=1, allow_nan=False) + "\n")
        for old in target.glob("*.png"):
            if not (made / old.name).exists():
                old.unlink()
        for path in sorted(made.iterdir(), key=lambda p: p.name == METRICS):
            os.replace(path, target / path.name)
    return target


def finished(folder: Path) -> Any:
    """The configuration of a run that has come to its end.

    Raises:
        InputError: it has not, or its report is of another configuration.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder}: no run folder (a run folder holds {CONFIG})")
    config = read_config(folder)
    report = folder / "report" / METRICS
    needed = [folder / name for name in (weights_name(config), *kept(config))] + [report]
    missing = [str(path.relative_to(folder)) for path in needed if not path.is_file()]
    exported = list((folder / "exported").glob(f"{config.recipe}/*/{GRAPH}"))
    if missing or not exported:
        lacks = ", ".join(missing) or "exported model"
        raise InputError(f"{folder}: has no {lacks} yet, finish it with: train --resume")
    evaluated = json.loads(report.read_text("utf-8")).get("config")
    if evaluated is None or from_table(evaluated) != config:
        raise InputError(f"{report}: is of another configuration than {folder / CONFIG}")
    return config


def weights_name(config: Any) -> str:
    """The file of weights that generate."""
    return POINT_WEIGHTS if config.architecture == SPARSE_VAE else WEIGHTS


def kept(config: Any) -> list[str]:
    """Files of a run that are shipped as they are."""
    if config.architecture == SPARSE_VAE:
        return [GEOMETRY, UNITS, TABLE]
    return [GEOMETRY, *([CALIBRATION] if config.calibration.events else [])]


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


def draw(folder: Path, made: Path) -> None:
    """Training curves, and events of the weights in 16 bit: whether they can be used at all."""
    from kerasgen.zoo.curves import read_log, training_curves

    write_bytes(made / "training.png", figure_to_png(training_curves(read_log(folder))))
    model = load(made)
    sets = read_config(made).architecture == SPARSE_VAE
    picture = plot(model, generate(model, 200 if sets else 1))
    write_bytes(made / "sample.png", figure_to_png(picture))


def record_of(folder: Path, made: Path, config: Any, pictures: list[str]) -> dict[str, Any]:
    """The content of the recorded ``metrics.json``: that of the run's report, and the training.

    Args:
        folder: of the run.
        made: files that are going to be shipped.
        config: as it is shipped.
        pictures: names of the pictures of the report.
    """
    from kerasgen.zoo.curves import read_log

    document = json.loads((folder / "report" / METRICS).read_text("utf-8"))
    settings, sets = config.training, config.architecture == SPARSE_VAE
    steps = settings.steps + (config.prior.steps if sets else 0)
    batch = settings.batch * (1 if sets else config.loss.critic_steps)
    names = [weights_name(config), *(n for n in kept(config) if n != GEOMETRY)]
    return document | {
        "config": asdict(config),
        "parameters": parameters(made, config),
        "training": {
            "steps": steps,
            "seen": steps * batch,
            "unit": "sets" if sets else "crops" if settings.crop else "images",
            "hours": read_log(folder).hours,
        },
        "weights": {
            "bytes": (made / names[0]).stat().st_size,
            "sha256": {name: checksum(made / name) for name in names},
        },
        "geant4": {} if sets or config.data.source != "simulate:pxd" else card.geant4_numbers(),
        "pictures": ["sample.png", *pictures],
    }


def parameters(made: Path, config: Any) -> dict[str, int]:
    """Trainable numbers of each network."""
    model: Any = load(made, calibrated=False)
    if config.architecture == SPARSE_VAE:
        made_of = model.generator
        networks = {name: getattr(made_of, name) for name in ("encoder", "decoder", "flow")}
    else:
        from kerasgen.models.pxd_gan.build import build_critic, padded_image

        crop, channels = config.training.crop, max(len(config.data.channels), 1)
        size = (crop[0], crop[1]) if crop else padded_image(model.geometry, config.architecture)
        critic = build_critic(
            config.architecture, config.critic, model.geometry, channels, size, "float32"
        )
        networks = {"generator": model.generator.generator, "critic": critic}
    return {name: count(network) for name, network in networks.items() if network is not None}


def count(network: Any) -> int:
    """Trainable numbers."""
    return sum(int(w.shape.num_elements()) for w in network.trainable_variables)


def renew(zoo: Path, readme: Path) -> None:
    """Make the generated parts of all model cards and of the README anew.

    Args:
        zoo: folder of the recipes.
        readme: the README; without effect where there is none, as beside an installed wheel.

    Raises:
        InputError: a text has no markers.
    """
    records = card.records_of(zoo)
    for name, record in records.items():
        path = zoo / name / README
        description = record["config"]["description"]
        text = card.TEMPLATE.format(name=name, description=description)
        text = path.read_text("utf-8") if path.is_file() else text
        write_text(path, card.between_markers(text, card.card(record), str(path)))
    if readme.is_file():
        text = readme.read_text("utf-8")
        write_text(readme, card.between_markers(text, card.results(records), str(readme)))


def main(argv: list[str] | None = None) -> int:
    """The command; see the module."""
    parser = Parser(
        prog="python -m kerasgen.zoo.ship", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "run", type=Path, nargs="?", metavar="RUN",
        help="finished run folder; without it the model cards and the README are made anew",
    )  # fmt: skip
    parser.add_argument(
        "--zoo", type=Path, default=zoo_folder(), metavar="DIR", help="folder of the recipes"
    )
    a = parser.parse_args(argv)
    if a.run is not None:
        print(f"{ship(a.run, a.zoo)}: shipped")
    renew(a.zoo, a.zoo.parent / README)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
