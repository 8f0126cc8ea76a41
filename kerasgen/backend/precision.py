"""Which numbers a training computes with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kerasgen.backend.engine import gpu_names

# Of a layer on images. Keras's defaults (floatx, dtype policy, data format) belong to the user:
# every layer names its own.
IMAGE: dict[str, Any] = {"dtype": "float32", "data_format": "channels_last"}


def resolve_precision(wanted: str) -> str:
    """The Keras policy of a recipe's ``training.precision``: "float32" or "mixed_bfloat16".

    "auto" takes bfloat16 where the hardware multiplies it: processors with AMX, any GPU. There a
    3 x 3 convolution over 64 channels ran 5 to 8 times as fast as in float32 (2 cores).
    """
    if wanted == "auto":
        fast = bool(gpu_names()) or "amx_bf16" in processor_flags()
        return "mixed_bfloat16" if fast else "float32"
    return "mixed_bfloat16" if wanted == "bfloat16" else "float32"


def processor_flags() -> set[str]:
    """Instruction sets of the processor, as Linux names them; empty where that is not known."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return set()
    for line in info.read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.split(":", 1)[1].split())
    return set()


def describe_device() -> str:
    """The device that computes, for the terminal."""
    return ", ".join(gpu_names()) or f"CPU, {cores()} cores"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
