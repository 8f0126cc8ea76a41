"""Generative models of sparse detector data.

``kerasgen.load``, ``generate`` and ``plot`` are those of ``kerasgen.zoo.models``, ``citation`` is
that of ``kerasgen.zoo.citation``. They are imported when they are first asked for: ``import
kerasgen`` alone imports nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasgen.zoo.citation import citation
    from kerasgen.zoo.models import generate, load, plot

__all__ = ["citation", "generate", "load", "plot"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "citation" if name == "citation" else "models"
    return getattr(import_module(f"kerasgen.zoo.{module}"), name)
