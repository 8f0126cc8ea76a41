"""A run from its start or resume to its end: training, evaluation, SavedModel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kerasgen.atomic import make_folder
from kerasgen.command import check_folder
from kerasgen.config import RunConfig, as_table, describe, to_toml
from kerasgen.errors import InputError, RunFailure
from kerasgen.evaluation.report import terminal_table
from kerasgen.keras_import import is_installed
from kerasgen.kinds.kind import EvaluationRequest
from kerasgen.models.algorithm import algorithm_of
from kerasgen.models.trained import load_trained, read_config, read_schema
from kerasgen.run_folder import (
    BEST,
    LAST,
    SCHEMA,
    WEIGHTS,
    append_metrics,
    check_run,
    check_unused,
    claim_folder,
    create_run,
    last_step,
    locked,
    read_metrics,
)
from kerasgen.serving.versions import GRAPH, newest_version
from kerasgen.training.deadline import Deadline, OutOfTime
from kerasgen.training.travel import has_travelled, unpack
from kerasgen.zoo.warm_start import check_geometry, initial_weights, pinned


@dataclass(frozen=True)
class Execution:
    """How a run is carried out, beside its configuration.

    Attributes:
        dry_run: stop after the checks.
        distribute: share every step among all devices, see ``use_all_devices``.
        deadline: when the training must have ended; None: no limit.
        mesh: the devices that share every step, once they are known.
    """

    dry_run: bool = False
    distribute: bool = False
    deadline: Deadline | None = None
    mesh: Any = None


def start(config: RunConfig, named: Path | None, execution: Execution) -> int:
    """Start a run; the folder appears only when data and configuration are good.

    Args:
        config: of the run.
        named: run folder; None: one of its own, named after recipe and time.
        execution: how.
    """
    from kerasgen.training.distribution import process

    folder = named or Path("runs") / f"{config.recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    check_folder(folder, "--run")
    if named and not (execution.distribute and process()):  # process 0 may have made it
        check_unused(folder)
    config = pinned(config)
    print(f"Recipe {config.recipe}, run folder {folder}\n{describe(config)}", flush=True)
    if config.training.init:
        print(f"Starts from the released weights of {config.recipe} ({config.training.init})")
    return check_and_train(resolved(config), folder, execution, False, not named)


def resolved(config: RunConfig) -> RunConfig:
    """The configuration without anything that another machine or folder would read otherwise."""
    from kerasgen.backend.precision import resolve_precision

    whole: Any = config
    source = algorithm_of(config.algorithm).kind.portable_source(config.data.source)
    precision = resolve_precision(config.training.precision).removeprefix("mixed_")
    return replace(
        whole,
        data=replace(whole.data, source=source),
        training=replace(whole.training, precision=precision),
    )


def resume(recipe: str, folder: Path, execution: Execution) -> int:
    """Continue a run folder by its own configuration."""
    from kerasgen.training.distribution import process

    check_run(folder)
    config = read_config(folder)
    if config.recipe != recipe:
        raise InputError(f"{folder} is a run of recipe {config.recipe!r}, not of {recipe!r}")
    if list((folder / "exported").glob(f"{config.recipe}/*/{GRAPH}")):
        print(f"{folder}: nothing left to do, {config.training.steps} steps done and evaluated")
        return 0
    if is_evaluated(folder):
        print(f"{folder}: {config.training.steps} steps done and evaluated", flush=True)
        if not (execution.dry_run or (execution.distribute and process())):
            with locked(folder):
                write_saved_model(config, folder)
        return 0
    if execution.distribute and has_travelled(folder):
        raise InputError(f"{folder}: a run that has travelled is first resumed on one device")
    how = "from its travel form" if has_travelled(folder) else "exactly"
    print(f"Resuming {folder} {how}\n{describe(config)}", flush=True)
    return check_and_train(config, folder, execution, True)


def is_evaluated(folder: Path) -> bool:
    """Whether the training of a run has ended and its report is written."""
    return (folder / WEIGHTS).is_file() and bool(own_checksums(folder, read_metrics(folder)))


def check_and_train(
    config: RunConfig, folder: Path, execution: Execution, resumed: bool, claimed: bool = False
) -> int:
    """Every check, as early as it can be, and the training, if this is no dry run.

    A folder that is ``claimed`` gets another name if another process has taken this one.

    Raises:
        InputError: data or configuration that no training could work with.
    """
    from kerasgen.training.distribution import copied, process, use_all_devices

    algorithm = algorithm_of(config.algorithm)
    kind = algorithm.kind
    if execution.distribute:
        execution = replace(execution, mesh=use_all_devices(config.training.batch))
    kind.check_source(config.data)
    schema = kind.known_schema(config.data)
    if not resumed:
        algorithm.check_schema(config, schema)
        check_geometry(config, schema)
    if execution.dry_run and not kind.source_path(config.data).exists():
        return 0
    with kind.open(config.data) as data:
        if resumed:
            read_schema(folder, algorithm)  # complains of a damaged one
            check_same_events(folder, data)
        algorithm.check_events(config, data)
        initial = initial_weights(config) if config.training.init and not resumed else None
        if initial is not None:
            algorithm.check_warm_start(config, data, initial.parent)
        if execution.dry_run:
            return 0
        if execution.distribute and process():
            with copied(folder) as own:
                train_in(config, own, data, resumed, execution)
            return 0
        if claimed:
            folder = claim_folder(folder)
            print(f"Run folder {folder}", flush=True)
        make_folder(folder)
        with locked(folder):
            if not resumed:
                create_run(folder, to_toml(config), data.schema.to_json())
            elif has_travelled(folder):
                unpack(folder)
                print("Weights were rounded to float16; the optimisers warm up again", flush=True)
            train_to_end(config, folder, data, resumed, execution)
    return 0


def check_same_events(folder: Path, data: Any) -> None:
    """Raise InputError if the data of a run have another schema than when it started."""
    if (folder / SCHEMA).read_text("utf-8", "replace").strip() != data.schema.to_json().strip():
        raise InputError(f"{data.path}: not the events of {folder}, whose {SCHEMA} differs")


def train_to_end(
    config: RunConfig, folder: Path, data: Any, resumed: bool, execution: Execution
) -> None:
    """Train, then make the result usable if the training has reached its end."""
    from kerasgen.backend.precision import describe_device, resolve_precision

    precision = resolve_precision(config.training.precision)
    mesh = execution.mesh
    shared = f" ({mesh.devices.size} devices share a step)" if mesh else ""
    print(f"Device: {describe_device()}{shared}; precision: {precision}", flush=True)
    print(f"TensorBoard: tensorboard --logdir {os.fspath(folder / 'logs')!r}", flush=True)
    if train_in(config, folder, data, resumed, execution):
        algorithm_of(config.algorithm).finish(config, folder, data, folder / BEST)
        finish(config, folder)


def train_in(
    config: RunConfig, folder: Path, data: Any, resumed: bool, execution: Execution
) -> bool:
    """Train in a folder, from its last checkpoint if it has one; whether the end was reached."""
    from kerasgen.training.distribution import together
    from kerasgen.training.trainer import train

    begun = resumed and (folder / LAST).is_file()
    initial = initial_weights(config) if config.training.init and not begun else None
    algorithm, how = algorithm_of(config.algorithm), (execution.mesh, execution.deadline)
    try:
        with together(folder):
            train(algorithm, config, folder, data, begun, initial, *how)
    except OutOfTime:
        return False
    return True


def finish(config: RunConfig, folder: Path) -> None:
    """Evaluate a trained run on its held-out events, and export it."""
    title = f"{config.recipe}: {folder.name}"
    out = folder / "report"
    document = evaluate_run(folder, config.data, None, title=title, out=out)
    append_metrics(folder, last_step(folder, config.training.steps), document)
    print(terminal_table(document))
    print(f"Report: {out / 'report.html'}", flush=True)
    write_saved_model(config, folder)


def write_saved_model(config: RunConfig, folder: Path) -> None:
    """Export a trained run into its folder, on another backend by a process with TensorFlow.

    Without TensorFlow nothing is written, and a line says so.

    Raises:
        RunFailure: the process failed.
    """
    from kerasgen.backend.engine import BACKEND

    out = folder / "exported"
    if BACKEND == "tensorflow":
        from kerasgen.serving.saved_model import export_model

        exported = export_model(load_trained(folder), out, config.recipe)
    elif is_installed("tensorflow"):
        export_elsewhere(folder, out)
        exported = newest_version(out / config.recipe)
    else:
        print(
            "SavedModel: not written, TensorFlow is not installed; where it is: "
            f"kerasgen export {folder}"
        )
        return
    print(f"SavedModel: {exported}")


def export_elsewhere(folder: Path, out: Path) -> None:
    """``kerasgen export`` of a run in a process of its own, whose backend is TensorFlow.

    Raises:
        RunFailure: it failed; names its last line.
    """
    done = subprocess.run(
        [sys.executable, "-m", "kerasgen", "export", str(folder), "--out", str(out)],
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunFailure(f"{folder}: SavedModel not written: {reason.removeprefix('kerasgen: ')}")


def evaluate_run(
    folder: Path,
    data: Any,
    source: str | None,
    *,
    title: str,
    out: Path,
    events: int | None = None,
    seed: int | None = None,
    calibrated: bool = True,
    studies: tuple[str, ...] = (),
    tracks: int | None = None,
    bootstrap: bool = True,
) -> dict[str, Any]:
    """Generate events of a finished run and compare them with held-out events.

    Args:
        folder: of the run.
        data: data section that says which events are held out.
        source: other data than the section's.
        title: heading of the report.
        out: folder of the report.
        events: to generate; None: as the run's configuration says.
        seed: of generation and resampling; None: the next after that of the training.
        calibrated: evaluate the calibrated variant too.
        studies: further studies.
        tracks: signal tracks of the study "tracking".
        bootstrap: whether training events are read, to look for copies and as the baseline.

    Returns:
        The content of ``metrics.json``.
    """
    config = read_config(folder)
    algorithm = algorithm_of(config.algorithm)
    names = [n for n in algorithm.variants(config) if calibrated or n != "calibrated"]
    models = {name: load_trained(folder, name != "uncalibrated") for name in names}
    files = models[names[-1]].files
    request = EvaluationRequest(
        out=out,
        title=title,
        events=events or config.evaluation.events,
        seed=config.training.seed + 1 if seed is None else seed,
        studies=studies,
        tracks=tracks,
        settings=config.evaluation,
        config=as_table(config),
        bootstrap=bootstrap,
        training=training_checksums(folder),
        training_data=config.data,
        model_bytes=sum((folder / name).stat().st_size for name in files),
        ideal=algorithm.ideal_sampler(models[names[-1]].generator),
    )
    return algorithm.kind.evaluate_run(dict(models), data, source, request)


def training_checksums(folder: Path) -> dict[str, str]:
    """{file name: checksum} of the data of a run, as its first evaluation on them recorded it.

    Empty before that. Of a recipe with released weights, from its recorded metrics.
    """
    from kerasgen.serving.versions import last_report

    return own_checksums(folder, [*read_metrics(folder), last_report(folder)])


def own_checksums(folder: Path, documents: list[dict[str, Any]]) -> dict[str, str]:
    """{file name: checksum} of the data of a run, by the first of the documents that has it."""
    config = read_config(folder)
    name = algorithm_of(config.algorithm).kind.source_path(config.data).name
    for document in documents:
        if name in document.get("data", {}):
            return {name: document["data"][name]}
    return {}
