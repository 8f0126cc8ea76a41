"""Train a recipe to the end: events, training, calibration, evaluation, figures, SavedModel."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasgen.command import Parser, non_negative_int, positive_int, positive_number, run
from kerasgen.errors import InputError

INITIAL = ["zoo"]


def main(argv: list[str] | None = None) -> int:
    """Command ``train``; see the module."""
    begin = time.monotonic()
    parser = Parser(prog="kerasgen train", description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="name of a recipe, see kerasgen list, or a recipe.toml")
    parser.add_argument("--config", metavar="FILE.toml", help="keys that replace the recipe's")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="simulate:pxd, simulate:pxd-geant4, simulate:jets, digits, mnist, or an HDF5 file",
    )
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="run folder, default runs/<recipe>-<time>"
    )
    parser.add_argument(
        "--steps",
        type=positive_int,
        metavar="N",
        help="training steps (those of prior.steps and adversarial.steps come after them)",
    )
    parser.add_argument("--quick", action="store_true", help="few steps and events, full geometry")
    parser.add_argument("--seed", type=non_negative_int, metavar="N")
    parser.add_argument(
        "--init",
        choices=INITIAL,
        help="start from the released weights of the recipe (default: from random ones)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="one recipe key, as training.batch=8; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--distribute",
        action="store_true",
        help="share every step among all devices (JAX), see docs/distributed.md",
    )
    parser.add_argument(
        "--minutes",
        type=positive_number,
        metavar="M",
        help="end the training at the last step that fits, with a checkpoint; a training that "
        "reaches its end in time is evaluated and exported as usual",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run folder --run")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be done, check all that needs no simulation, and stop",
    )
    a = parser.parse_args(argv)
    from kerasgen.training.deadline import Deadline
    from kerasgen.training.distribution import PROCESSES
    from kerasgen.zoo.recipes import load_config, recipe_file
    from kerasgen.zoo.run import Execution, resume, start

    if a.distribute and PROCESSES in os.environ:
        if a.run is None:
            raise InputError(
                "--distribute over processes needs --run DIR, a folder that all of them see"
            )
        if a.minutes is not None:
            raise InputError("--minutes: not over processes, each of which has its own clock")
    execution = Execution(a.dry_run, a.distribute, Deadline(a.minutes, begin))
    if a.resume:
        changing = ("config", "data", "steps", "seed", "init", "changes", "quick")
        given = [x for x in changing if getattr(a, x)]
        if a.seed == 0:
            given.append("seed")
        check_resume(a.run, given)
        name = a.recipe if Path(a.recipe).suffix != ".toml" else recipe_file(a.recipe)[0]
        return resume(name, a.run, execution)
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
    if not any(change.startswith("data.channels") for change in a.changes):
        config = fitted(config)
    return start(config, a.run, execution)


def fitted(config: Any) -> Any:
    """A configuration as the events of its source allow."""
    from kerasgen.models.algorithm import algorithm_of

    data = algorithm_of(config.algorithm).kind.fitting(config.data)
    if data != config.data:
        print(f"{data.source}: its hits have no types: data.channels = []", flush=True)
    return replace(config, data=data)


def check_resume(folder: Path | None, given: list[str]) -> None:
    """Raise InputError if ``--resume`` lacks its folder, or comes with options that change it."""
    if folder is None:
        raise InputError("--resume needs --run DIR, the folder to continue")
    if given:
        names = ", ".join("--set" if x == "changes" else f"--{x}" for x in given)
        raise InputError(f"--resume keeps the configuration of {folder}; leave out {names}")


if __name__ == "__main__":
    raise SystemExit(run(main))
