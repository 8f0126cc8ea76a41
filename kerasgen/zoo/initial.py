"""Training that starts from the weights that its recipe ships: ``train --init zoo``."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from kerasgen.data.store import checksum
from kerasgen.errors import InputError
from kerasgen.zoo.config import SPARSE_VAE, read_config, value_of
from kerasgen.zoo.trained import GEOMETRY, POINT_WEIGHTS, WEIGHTS, shipped

ZOO = "zoo"


def pinned(config: Any) -> Any:
    """The configuration with the checksum of the weights that it starts from, if it does.

    ``training.init`` is "zoo" as it is asked for, and "zoo:<12 digits of SHA-256>" in a resolved
    configuration, so that training from it again gives the same run or says that it cannot.

    Raises:
        InputError: as ``initial_weights``.
    """
    if not config.training.init:
        return config
    digest = checksum(initial_weights(config))[:12]
    return replace(config, training=replace(config.training, init=f"{ZOO}:{digest}"))


def initial_weights(config: Any) -> Path:
    """The file of weights that a training starts from.

    Raises:
        InputError: the recipe ships none, of other networks, or no longer those that are meant.
    """
    name, asked = config.recipe, config.training.init
    kind, _, digest = asked.partition(":")
    if kind != ZOO:
        raise InputError(f"training.init = {asked!r}: allowed: '' and {ZOO!r}")
    if name not in shipped():
        raise InputError(f"training.init = {asked!r}: recipe {name!r} ships no weights")
    folder = shipped()[name]
    theirs = read_config(folder)
    for key in network_keys(config):
        here, there = value_of(config, key), value_of(theirs, key)
        if here != there:
            raise InputError(
                f"training.init = {asked!r}: networks differ, {key} = {here!r} and of the shipped "
                f"weights {there!r}"
            )
    path = folder / (POINT_WEIGHTS if config.architecture == SPARSE_VAE else WEIGHTS)
    if digest and checksum(path)[:12] != digest:
        raise InputError(
            f"training.init = {asked!r}: {name} ships other weights, {ZOO}:{checksum(path)[:12]}"
        )
    return path


def network_keys(config: Any) -> list[str]:
    """Keys that both configurations must agree in, for the weights of one to fit the other."""
    if config.architecture == SPARSE_VAE:
        keys = [f"network.{f.name}" for f in fields(config.network)]
        return [
            *keys, "prior.form", "prior.layers", "prior.width", "data.coordinates",
            "data.log_intensity",
        ]  # fmt: skip
    own = [f"generator.{f.name}" for f in fields(config.generator) if f.name != "initializer"]
    return ["architecture", *own, "data.channels"]


def check_detector(config: Any, geometry: str) -> None:
    """Raise InputError if a training is to start from weights of another geometry.

    Args:
        config: of the training.
        geometry: JSON, as in ``geometry.json`` of a run folder.
    """
    if not config.training.init:
        return
    path = initial_weights(config).with_name(GEOMETRY)
    if path.read_text("utf-8").strip() != geometry.strip():
        raise InputError(
            f"training.init = {config.training.init!r}: the data are of another geometry than the "
            f"shipped weights of {config.recipe}"
        )
