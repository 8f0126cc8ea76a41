"""A model whose training goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunningModel:
    """The generator of a running training, as a ``Model`` of its data kind.

    Attributes:
        name: of the recipe.
        schema: what the numbers of its events mean.
        generator: from seeds to events.
        identity: none, its weights change.
    """

    name: str
    schema: Any
    generator: Any
    identity: str = ""
