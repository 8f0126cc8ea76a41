"""Train a recipe to the end: events, training, calibration, evaluation, pictures, SavedModel."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

from kerasgen.cli import Parser, non_negative_int, positive_int, run
from kerasgen.data.store import EventFile
from kerasgen.errors import InputError
from kerasgen.training.run_folder import check_run, create_run, locked
from kerasgen.zoo.config import Config, describe, load_config, read_config, to_toml, value_of


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="kerasgen train", description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="name of a recipe, see kerasgen list")
    parser.add_argument("--config", metavar="FILE.toml", help="keys that replace the recipe's")
    parser.add_argument("--data", metavar="SOURCE", help="simulate:pxd, or a kerasgen HDF5 file")
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="run folder, default runs/<recipe>-<time>"
    )
    parser.add_argument("--steps", type=positive_int, metavar="N", help="training steps")
    parser.add_argument("--quick", action="store_true", help="few steps and events, full geometry")
    parser.add_argument("--seed", type=non_negative_int, metavar="N")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="one recipe key, as training.batch=8; may be repeated",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with the run folder --run")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and stop")
    a = parser.parse_args(argv)
    given = [x for x in ("config", "data", "steps", "seed", "changes", "quick") if getattr(a, x)]
    if a.seed is not None and "seed" not in given:
        given.append("seed")
    if a.resume:
        return resume(a.recipe, a.run, given, a.dry_run)
    changes = list(a.changes)
    if a.data is not None:
        changes.append(f"data.source={json.dumps(a.data)}")
    if a.steps is not None:
        changes.append(f"training.steps={a.steps}")
    if a.seed is not None:
        changes.append(f"training.seed={a.seed}")
    config = load_config(a.recipe, a.config, a.quick, changes)
    folder = a.run or Path("runs") / f"{a.recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    return start(config, folder, a.dry_run)


def start(config: Config, folder: Path, dry_run: bool) -> int:
    """A new run; the folder appears only when data and configuration are good."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; --resume continues it, or name another --run")
    print(f"Recipe {config.recipe}, run folder {folder}\n{describe(config)}", flush=True)
    if dry_run:
        return 0
    config = resolved(config)
    with open_data(config) as file:
        check_fit(config, file)
        create_run(folder, to_toml(config), file.geometry.to_json())
        with locked(folder):
            train_to_end(config, folder, file, resumed=False)
    return 0


def resolved(config: Config) -> Config:
    """The configuration without anything that another machine or folder would read otherwise."""
    from kerasgen.training.precision import resolve_precision

    source = config.data.source
    if not source.startswith("simulate:"):
        source = str(Path(source).absolute())
    precision = resolve_precision(config.training.precision).removeprefix("mixed_")
    return replace(
        config,
        data=replace(config.data, source=source),
        training=replace(config.training, precision=precision),
    )


def resume(recipe: str, folder: Path | None, given: list[str], dry_run: bool) -> int:
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
    if dry_run:
        return 0
    with open_data(config) as file, locked(folder):
        check_fit(config, file)
        train_to_end(config, folder, file, resumed=True)
    return 0


def open_data(config: Config) -> EventFile:
    """The events of the run, simulated if they are not there yet."""
    from kerasgen.training.data import event_file

    return event_file(config.data.source, config.data.events, config.data.seed)


def check_fit(config: Config, file: EventFile) -> None:
    """Refuse before anything is written what could only fail later."""
    from kerasgen.models.pxd_gan.build import padded_image
    from kerasgen.training.data import division

    division(file, config.data.events, config.data.held_out)
    image = padded_image(file.geometry, config.architecture)
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


def train_to_end(config: Config, folder: Path, file: EventFile, resumed: bool) -> None:
    """Training, then everything that makes the result usable."""
    from kerasgen.training.checkpoint import LAST
    from kerasgen.training.finish import finish
    from kerasgen.training.precision import describe_device, resolve_precision
    from kerasgen.training.trainer import train

    precision = resolve_precision(config.training.precision)
    print(f"Device: {describe_device()}; precision: {precision}", flush=True)
    print(f"TensorBoard: tensorboard --logdir {os.fspath(folder / 'logs')!r}", flush=True)
    train(config, folder, file, resume=resumed and (folder / LAST).is_file())
    finish(config, folder, file)


if __name__ == "__main__":
    raise SystemExit(run(main))
