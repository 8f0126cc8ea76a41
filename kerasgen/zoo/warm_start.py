"""Training that starts from released weights: ``train --init zoo``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasgen.config import RunConfig, value_of
from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.models.algorithm import algorithm_of
from kerasgen.models.trained import read_config
from kerasgen.run_folder import SCHEMA, WEIGHTS
from kerasgen.zoo.lookup import released

ZOO = "zoo"


def pinned(config: RunConfig) -> RunConfig:
    """The configuration with the checksum of the weights that it starts from, if it does.

    ``training.init`` is "zoo" as it is asked for, and "zoo:<12 digits of SHA-256>" in a resolved
    configuration, so that training from it again gives the same run or says that it cannot.

    Raises:
        InputError: as ``initial_weights``.
    """
    if not config.training.init:
        return config
    whole: Any = config
    digest = checksum(initial_weights(config))[:12]
    return replace(whole, training=replace(whole.training, init=f"{ZOO}:{digest}"))


def initial_weights(config: RunConfig) -> Path:
    """The file of weights that a training starts from.

    Raises:
        InputError: the recipe has no released weights, or of other networks, or no longer those
            that are meant.
    """
    name, asked = config.recipe, config.training.init
    digest = asked.partition(":")[2]
    if name not in released():
        raise InputError(f"training.init = {asked!r}: recipe {name!r} has no released weights")
    folder = released()[name]
    theirs = read_config(folder)
    for key in algorithm_of(config.algorithm).network_keys(config):
        here, there = value_of(config, key), value_of(theirs, key)
        if here != there:
            raise InputError(
                f"training.init = {asked!r}: networks differ, {key} = {here!r} and of the released "
                f"weights {there!r}"
            )
    path = folder / WEIGHTS
    if digest and checksum(path)[:12] != digest:
        raise InputError(
            f"training.init = {asked!r}: the released weights of {name} are others, "
            f"{ZOO}:{checksum(path)[:12]}"
        )
    return path


def check_geometry(config: RunConfig, schema: Any) -> None:
    """Raise InputError if a training is to start from weights of other events.

    Args:
        config: of the training.
        schema: of its events.
    """
    if not config.training.init:
        return
    path = initial_weights(config).with_name(SCHEMA)
    if path.read_text("utf-8").strip() != schema.to_json().strip():
        raise InputError(
            f"training.init = {config.training.init!r}: the data are of another schema than the "
            f"released weights of {config.recipe}"
        )
