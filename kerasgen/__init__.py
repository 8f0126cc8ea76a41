"""Generative models of sparse detector data.

``kerasgen.load``, ``generate`` and ``plot`` are those of ``kerasgen.zoo.models``, imported when
they are first asked for: ``import kerasgen`` alone imports nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasgen.zoo.models import generate, load, plot

__all__ = ["generate", "load", "plot"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kerasgen.zoo import models

    return getattr(models, name)
