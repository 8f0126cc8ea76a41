"""One resolved configuration of a run: recipe, ``--quick``, ``--config`` and ``--set``, checked.

Every section of a recipe is a dataclass; its fields are the recipe's keys, their annotations the
types, their defaults the values where the recipe is silent. ``config.toml`` of a run folder holds
every key, so that training from it again gives the same run.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import tomli_w

from kerasgen.errors import InputError, nearest
from kerasgen.models.pxd_gan.settings import (
    CalibrationSettings,
    CriticSettings,
    GeneratorSettings,
    LossSettings,
)
from kerasgen.zoo.catalogue import recipes

SPARSE_VAE = "sparse_vae"  # the architecture of point sets; the others are of pixel detectors


@dataclass(frozen=True)
class DataSettings:
    """Where the events come from.

    Attributes:
        source: "simulate:pxd" (the built-in simulator) or the path of a kerasgen HDF5 file.
        events: events to simulate; of a file, events to use, 0 for all.
        held_out: events at the end that training never sees; the metrics are computed on them.
        seed: of the simulator.
        channels: background types, one image channel each, without the hits of other types;
            empty: one channel with all hits.
    """

    source: str = "simulate:pxd"
    events: int = 2000
    held_out: int = 200
    seed: int = 1
    channels: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes:
        steps: generator steps.
        batch: images (or crops) of one critic step.
        accumulate: steps whose gradients are averaged into one update, so that a small batch in
            memory learns as a large one does; batch statistics stay those of the small batch.
        crop: [height, width] of the training crops, pixels; empty: whole images.
        generator_rate, critic_rate: peak learning rates of Adam.
        beta1, beta2: of Adam.
        reconstruction_steps: first steps, in which the generator learns from the reconstruction
            of real deposits alone; after them it goes on beside the game. 0: no reconstruction.
        reconstruction_every: beside the game, one of so many images of a batch is reconstructed.
        reconstruction_rate: peak learning rate of the reconstruction, which the cosine brings
            to ``final_rate`` of it when the game begins.
        schedule: "cosine" (to ``final_rate`` of the peak) or "constant".
        final_rate: last learning rate / peak, of the cosine.
        warm_up: steps of linear warm-up.
        average_decay: of the running mean of the generator's weights.
        precision: "float32", "bfloat16" or "auto" (bfloat16 where the processor has it).
        evaluate_every: steps between evaluations on held-out events; a checkpoint goes with each.
        evaluate_events: events of such an evaluation.
        on_collapse: "stop" or "rollback" (to the last good checkpoint, with half the rates).
        seed: of weights, noise and order of the images.
        init: generator to start from: "" (random weights) or "zoo" (those that the recipe ships);
            critic and encoder start at random.
    """

    steps: int = 20000
    batch: int = 16
    accumulate: int = 1
    crop: list[int] = field(default_factory=lambda: [64, 192])
    generator_rate: float = 2e-4
    critic_rate: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
    reconstruction_steps: int = 0
    reconstruction_every: int = 1
    reconstruction_rate: float = 3e-3
    schedule: str = "cosine"
    final_rate: float = 0.02
    warm_up: int = 50
    average_decay: float = 0.998
    precision: str = "auto"
    evaluate_every: int = 500
    evaluate_events: int = 6
    on_collapse: str = "stop"
    seed: int = 0
    init: str = ""


@dataclass(frozen=True)
class EvaluationSettings:
    """The evaluation at the end of a run.

    Attributes:
        events: generated events, compared with the held-out ones.
    """

    events: int = 200


@dataclass(frozen=True)
class Config:
    """A run, resolved."""

    recipe: str
    description: str = ""
    architecture: str = "sub_pixel"
    data: DataSettings = field(default_factory=DataSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    critic: CriticSettings = field(default_factory=CriticSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)


def load_config(
    recipe: str, config_file: str | None = None, quick: bool = False, changes: Sequence[str] = ()
) -> Any:
    """The recipe with the changes asked for, in this order: quick form, file, ``key=value``.

    Raises:
        InputError: unknown recipe or key, a value of the wrong type or outside its range.
    """
    known = recipes()
    if recipe not in known:
        raise InputError(f"unknown recipe {recipe!r}{nearest(recipe, known)}")
    table = read_toml(known[recipe])
    quick_table = table.pop("quick", {})
    if quick:
        merge(table, quick_table)
    if config_file is not None:
        other = read_toml(Path(config_file))
        other.pop("quick", None)
        if other.pop("recipe", recipe) != recipe:
            raise InputError(f"{config_file}: is the configuration of another recipe")
        merge(table, other)
    for change in changes:
        merge(table, parse_change(change))
    return from_table(table | {"recipe": recipe})


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a table; a missing or broken file is bad input."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: not TOML: {e}") from None


def parse_change(change: str) -> dict[str, Any]:
    """``section.key=value`` as a nested table; the value is TOML, or a plain word."""
    name, separator, text = change.partition("=")
    if not separator or not name.strip():
        raise InputError(f"--set {change!r}: must have the form key=value, as training.steps=100")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for key in reversed(name.strip().split(".")):
        value = {key: value}
    return value


def merge(table: dict[str, Any], changes: dict[str, Any]) -> None:
    """Write ``changes`` into ``table``, section by section."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            merge(table[key], value)
        else:
            table[key] = value


def from_table(table: dict[str, Any]) -> Any:
    """A table as a checked ``Config``, or ``VAEConfig`` where the recipe's architecture is one."""
    if table.get("architecture") == SPARSE_VAE:
        from kerasgen.zoo.point_sets.config import VAEConfig, check_vae

        vae = build(VAEConfig, table, "")
        check_vae(vae)
        return vae
    config = build(Config, table, "")
    check(config)
    return config


def build(kind: Any, table: dict[str, Any], where: str) -> Any:
    """An instance of a dataclass from a table; names and types must fit."""
    if not isinstance(table, dict):
        raise InputError(f"{where.rstrip('.')} is a section, it has keys: {', '.join(keys(kind))}")
    hints = get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            raise InputError(f"unknown key {where + key!r}{nearest(key, keys(kind))}")
        hint = hints[key]
        if is_dataclass(hint):
            values[key] = build(hint, value, f"{where}{key}.")
        else:
            values[key] = typed(value, hint, where + key)
    return kind(**values)


def keys(kind: Any) -> list[str]:
    return [f.name for f in fields(kind)]


def typed(value: Any, hint: Any, name: str) -> Any:
    """The value if it has the type, whole numbers standing for floats too."""
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        if not isinstance(value, list):
            raise InputError(f"{name} must be a list of {item.__name__}, not {value!r}")
        return [typed(v, item, name) for v in value]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise InputError(f"{name} must be of type {hint.__name__}, not {value!r}")
    return value


def check(config: Config) -> None:
    """Values that no run could work with."""
    choices: dict[str, Sequence[str]] = {
        "architecture": ["sub_pixel", "biggan_deep"],
        "generator.output": ["gated", "tanh"],
        "generator.padding": ["wrap", "same"],
        "loss.adversarial": ["hinge", "critic"],
        "loss.contrastive_form": ["2c", "margin"],
        "loss.consistency_form": ["plain", "balanced"],
        "training.schedule": ["cosine", "constant"],
        "training.precision": ["auto", "bfloat16", "float32"],
        "training.on_collapse": ["stop", "rollback"],
    }
    at_least: dict[str, float] = {
        "training.steps": 1, "training.batch": 1, "training.evaluate_every": 1,
        "training.accumulate": 1, "training.reconstruction_every": 1,
        "training.evaluate_events": 2, "training.reconstruction_steps": 0,
        "training.reconstruction_rate": 0, "generator.noise_channels": 1, "loss.kl": 0,
        "training.warm_up": 0, "training.seed": 0,
        "training.generator_rate": 0, "training.critic_rate": 0, "data.held_out": 4,
        "data.events": 0, "data.seed": 0, "evaluation.events": 4, "calibration.events": 0,
        "loss.critic_steps": 1, "loss.contrastive": 0, "loss.consistency": 0,
        "loss.consistency_shift": 1, "loss.pixel_aware": 0, "loss.orthogonal": 0,
        "loss.occupancy": 0, "generator.channels": 8, "generator.blocks": 1,
        "generator.latent_size": 0, "generator.up_blocks": 0, "critic.channels": 8,
        "critic.blocks": 0, "generator.factor": 1, "generator.bottleneck": 1,
        "critic.bottleneck": 1, "generator.noise_gain": 0, "generator.embedding_size": 1,
        "generator.charge_components": 1,
    }  # fmt: skip
    check_values(config, choices, at_least)
    if config.loss.temperature <= 0:
        raise InputError(f"loss.temperature = {config.loss.temperature} must be above 0")
    check_reconstruction(config)
    for name in ("training.crop", "generator.attention", "critic.attention"):
        value = value_of(config, name)
        if value and (len(value) != 2 or min(value) < 1):
            raise InputError(f"{name} = {value} must be [height, width] or []")
    data = config.data
    if data.source.startswith("simulate:") and data.events <= data.held_out:
        raise InputError(
            f"data.events = {data.events} of a simulation must be above data.held_out = "
            f"{data.held_out}, or none is left to train on"
        )
    if len(set(data.channels)) < len(data.channels) or set(data.channels) - set(range(256)):
        raise InputError(f"data.channels = {data.channels}: background types 0..255, each once")
    if not 0 <= config.training.average_decay < 1:
        raise InputError(f"training.average_decay = {config.training.average_decay} not in [0, 1)")


def check_values(
    config: Any, choices: dict[str, Sequence[str]], at_least: dict[str, float]
) -> None:
    """Raise InputError unless every value is one of its choices, large enough and finite."""
    for name, allowed in choices.items():
        value = value_of(config, name)
        if value not in allowed:
            raise InputError(f"{name} = {value!r}{nearest(str(value), allowed)}")
    for name, lowest in at_least.items():
        value = value_of(config, name)
        if not value >= lowest:
            raise InputError(f"{name} = {value} is too small, at least {lowest}")
    for section, values in asdict(config).items():
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{section}.{key} = {value} must be a finite number")
    if config.training.seed >= 2**32:
        raise InputError(f"training.seed = {config.training.seed} is too large, below {2**32}")


def check_reconstruction(config: Config) -> None:
    """Deposits need numbers to mark them, the reconstruction needs deposits and a gate.

    Raises:
        InputError: they are not there.
    """
    generator = config.generator
    deposits = config.architecture == "sub_pixel" and generator.deposits
    if deposits and generator.noise_channels < 5:
        raise InputError(
            f"generator.noise_channels = {generator.noise_channels} is too small, at least 5: "
            "four for the place of a deposit, and its marks"
        )
    if config.training.reconstruction_steps and not (deposits and generator.output == "gated"):
        raise InputError(
            "training.reconstruction_steps: allowed with architecture 'sub_pixel', "
            "generator.deposits = true and generator.output = 'gated'; otherwise 0"
        )
    settings = config.training
    if settings.reconstruction_steps and settings.batch % settings.reconstruction_every:
        raise InputError(
            f"training.batch = {settings.batch} must be a multiple of "
            f"training.reconstruction_every = {settings.reconstruction_every}"
        )
    if config.loss.score_scale <= 0:
        raise InputError(f"loss.score_scale = {config.loss.score_scale} must be above 0")


def value_of(config: Any, name: str) -> Any:
    """The value of a dotted key."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def to_toml(config: Any) -> str:
    """Every key, as ``config.toml`` holds it."""
    return tomli_w.dumps(asdict(config))


def read_config(run: Path | str) -> Any:
    """The configuration of a run folder."""
    return from_table(read_toml(Path(run) / "config.toml"))


def describe(config: Any) -> str:
    """The sections in one line each, for the terminal."""
    lines = []
    for name, value in asdict(config).items():
        text = value if isinstance(value, str) else json.dumps(value).replace('"', "")
        lines.append(f"  {name:12s} {text}")
    return "\n".join(lines)
