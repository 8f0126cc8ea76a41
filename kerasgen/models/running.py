"""A model in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunningModel:
    """The generator of a running training, as a ``Model`` of its data kind.

    Attributes:
        name: of the recipe.
        schema: meaning of the numbers of its events.
        generator: from seeds to events.
        identity: empty, because its weights change.
        mask: None, as of all models whose detector is healthy.
    """

    name: str
    schema: Any
    generator: Any
    identity: str = ""
    mask: None = None

    @property
    def title(self) -> str:
        """Name in reports."""
        return self.name
