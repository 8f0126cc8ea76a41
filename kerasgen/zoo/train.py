"""Train a recipe to the end: events, training, calibration, evaluation, pictures, SavedModel."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasgen.cli import Parser, check_folder, non_negative_int, positive_int, run
from kerasgen.data.geometry import Geometry
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.training.point_data import BUILT_IN
from kerasgen.training.run_folder import check_run, check_unused, create_run, locked
from kerasgen.zoo.config import (
    SPARSE_VAE,
    Config,
    describe,
    load_config,
    read_config,
    to_toml,
    value_of,
)
from kerasgen.zoo.initial import ZOO, check_detector, pinned


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="kerasgen train", description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="name of a recipe, see kerasgen list")
    parser.add_argument("--config", metavar="FILE.toml", help="keys that replace the recipe's")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="simulate:pxd, simulate:jets, digits, mnist, or a kerasgen HDF5 file",
    )
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="run folder, default runs/<recipe>-<time>"
    )
    parser.add_argument(
        "--steps",
        type=positive_int,
        metavar="N",
        help="training steps (a flow prior has its own, prior.steps)",
    )
    parser.add_argument("--quick", action="store_true", help="few steps and events, full geometry")
    parser.add_argument("--seed", type=non_negative_int, metavar="N")
    parser.add_argument(
        "--init",
        choices=[ZOO],
        help="start from the weights that the recipe ships (default: from random ones)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="one recipe key, as training.batch=8; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--strategy",
        choices=["mirrored", "multiworker"],
        help="share every step: all GPUs of this machine, or the machines that TF_CONFIG names",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run folder --run")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be done, check all that needs no simulation, and stop",
    )
    a = parser.parse_args(argv)
    changing = ("config", "data", "steps", "seed", "init", "changes", "quick")
    given = [x for x in changing if getattr(a, x)]
    if a.seed is not None and "seed" not in given:
        given.append("seed")
    if a.resume:
        return resume(a.recipe, a.run, given, a.dry_run, a.strategy)
    changes = list(a.changes)
    if a.data is not None:
        changes.append(f"data.source={json.dumps(a.data)}")
    if a.steps is not None:
        changes.append(f"training.steps={a.steps}")
    if a.seed is not None:
        changes.append(f"training.seed={a.seed}")
    if a.init is not None:
        changes.append(f"training.init={a.init}")
    config = load_config(a.recipe, a.config, a.quick, changes)
    if a.strategy == "multiworker" and a.run is None:
        raise InputError("--strategy multiworker needs --run DIR, a folder that all workers see")
    folder = a.run or Path("runs") / f"{a.recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    return start(config, folder, a.dry_run, a.strategy)


def start(config: Any, folder: Path, dry_run: bool, strategy: str | None = None) -> int:
    """A new run; the folder appears only when data and configuration are good."""
    check_folder(folder, "--run")
    if strategy != "multiworker":  # there the first worker may have made it
        check_unused(folder)
    config = pinned(config)
    print(f"Recipe {config.recipe}, run folder {folder}\n{describe(config)}", flush=True)
    if config.training.init:
        print(f"Starts from the weights that {config.recipe} ships ({config.training.init})")
    return check_and_train(resolved(config), folder, dry_run, False, strategy)


def resolved(config: Any) -> Any:
    """The configuration without anything that another machine or folder would read otherwise."""
    from kerasgen.training.precision import resolve_precision

    source = config.data.source
    named = source.startswith("simulate:") or source in BUILT_IN
    # A word that names neither data nor a file stays what it is: it is misspelt.
    if not named and (config.architecture != SPARSE_VAE or Path(source).exists()):
        source = str(Path(source).absolute())
    precision = resolve_precision(config.training.precision).removeprefix("mixed_")
    return replace(
        config,
        data=replace(config.data, source=source),
        training=replace(config.training, precision=precision),
    )


def resume(
    recipe: str, folder: Path | None, given: list[str], dry_run: bool, strategy: str | None
) -> int:
    """Go on with a run folder, by its own configuration."""
    if folder is None:
        raise InputError("--resume needs --run DIR, the folder to go on with")
    if given:
        names = ", ".join("--set" if x == "changes" else f"--{x}" for x in given)
        raise InputError(f"--resume goes on with the configuration of {folder}; leave out {names}")
    check_run(folder)
    config = read_config(folder)
    if config.recipe != recipe:
        raise InputError(f"{folder} is a run of recipe {config.recipe!r}, not of {recipe!r}")
    if list((folder / "exported").glob(f"{config.recipe}/*/saved_model.pb")):
        print(f"{folder}: nothing left to do, {config.training.steps} steps done and evaluated")
        return 0
    print(f"Resuming {folder}\n{describe(config)}", flush=True)
    return check_and_train(config, folder, dry_run, True, strategy)


def check_and_train(
    config: Any, folder: Path, dry_run: bool, resumed: bool, strategy: str | None
) -> int:
    """Every check, as early as it can be, and the training, if this is no dry run.

    Raises:
        InputError: data or configuration that no training could work with.
    """
    if config.architecture == SPARSE_VAE:
        from kerasgen.zoo.point_sets.train import check_and_train_points

        if strategy:
            raise InputError("--strategy: for the recipes of pixel detectors")
        return check_and_train_points(config, folder, dry_run, resumed)
    from kerasgen.training.data import event_file, event_path, source_geometry
    from kerasgen.training.distribution import check_batch, make_strategy, worker

    devices = make_strategy(strategy)
    check_batch(devices, config)
    data = config.data
    geometry = source_geometry(data.source)
    check_sizes(config, geometry)
    if not resumed:
        check_networks(config, geometry)
        check_detector(config, geometry.to_json())
    if dry_run and not event_path(data.source, data.events, data.seed).exists():
        return 0
    with event_file(data.source, data.events, data.seed, data.channels) as file:
        check_events(config, file)
        if dry_run:
            return 0
        if strategy == "multiworker" and worker():
            help_to_train(config, folder, file, resumed, devices)
            return 0
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            if not resumed:
                create_run(folder, to_toml(config), geometry.to_json())
            train_to_end(config, folder, file, resumed, devices)
    return 0


def check_events(config: Config, file: EventFile) -> None:
    """There are events to train on, and the first of them have hits."""
    from kerasgen.training.data import first_events

    if not len(first_events(config, file).adu):
        kinds = f" of the types data.channels = {config.data.channels}"
        raise InputError(
            f"{file.path}: the training events have no hits{kinds if config.data.channels else ''}"
        )


def check_networks(config: Config, geometry: Geometry) -> None:
    """Generator and critic can be built."""
    import keras

    from kerasgen.models.pxd_gan.build import build_critic, build_generator, padded_image

    name, channels = config.architecture, max(len(config.data.channels), 1)
    crop = config.training.crop
    size = (crop[0], crop[1]) if crop else padded_image(geometry, name)
    build_generator(name, config.generator, geometry, channels, "float32", "generator")
    build_critic(name, config.critic, geometry, channels, size, "float32")
    keras.utils.clear_session()  # counters in the names of layers, which TensorBoard shows


def check_sizes(config: Config, geometry: Geometry) -> None:
    """Crops fit into the sensor, and cells and attention windows into both."""
    from kerasgen.models.pxd_gan.build import padded_image

    image = padded_image(geometry, config.architecture)
    crop = config.training.crop
    if crop and (crop[0] > image[0] or crop[1] > image[1]):
        raise InputError(f"training.crop = {crop} is larger than the padded sensor {list(image)}")
    if crop and config.architecture == "biggan_deep":
        raise InputError("architecture 'biggan_deep' trains on whole images: training.crop = []")
    check_cells(config, image, (crop[0], crop[1]) if crop else image)


def check_cells(config: Config, image: tuple[int, int], crop: tuple[int, int]) -> None:
    """Images and crops must be whole cells, and maps of cells whole attention windows."""
    deep = config.architecture == "biggan_deep"
    cells = {"generator": 4 if deep else config.generator.factor, "critic": 8}
    # The critic sees nothing but crops.
    sizes = {"generator": [("the padded sensor", image), ("training.crop", crop)]}
    sizes["critic"] = sizes["generator"][1:]
    for network, cell in cells.items():
        window = value_of(config, f"{network}.attention") or [1, 1]
        for what, size in sizes[network]:
            if any(n % (cell * w) for n, w in zip(size, window, strict=True)):
                raise InputError(
                    f"{network}: {what} of {size[0]} x {size[1]} pixels has no whole cells of "
                    f"{cell} x {cell} pixels in windows of {window[0]} x {window[1]} cells "
                    f"({network}.attention)"
                )


def help_to_train(
    config: Config, folder: Path, file: EventFile, resumed: bool, devices: Any
) -> None:
    """The part of every worker but the first, which alone writes into the run folder."""
    from kerasgen.training.checkpoint import LAST
    from kerasgen.training.distribution import copied
    from kerasgen.training.trainer import train

    with copied(folder) as own:
        train(config, own, file, resumed and (own / LAST).is_file(), devices)
    print("Trained; the first worker evaluates and exports")


def train_to_end(
    config: Config, folder: Path, file: EventFile, resumed: bool, devices: Any
) -> None:
    """Training, then everything that makes the result usable."""
    from kerasgen.training.checkpoint import LAST
    from kerasgen.training.finish import finish
    from kerasgen.training.precision import describe_device, resolve_precision
    from kerasgen.training.trainer import train

    precision = resolve_precision(config.training.precision)
    replicas = devices.num_replicas_in_sync
    share = f" ({replicas} devices share a step)" if replicas > 1 else ""
    print(f"Device: {describe_device()}{share}; precision: {precision}", flush=True)
    print(f"TensorBoard: tensorboard --logdir {os.fspath(folder / 'logs')!r}", flush=True)
    train(config, folder, file, resumed and (folder / LAST).is_file(), devices)
    finish(config, folder, file)


if __name__ == "__main__":
    raise SystemExit(run(main))
