"""Masks of the toy detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from pixel_events import toy_geometry

from kerasgen.data.geometry import load_geometry
from kerasgen.data.mask_file import HEADER, mask_from_text
from kerasgen.data.pixel_mask import ALWAYS, KINDS, LINE, PixelMask

GEOMETRY = toy_geometry()  # 3 sensors of 12 x 20 pixels, charges 2..300
PXD = load_geometry("belle2-pxd")


def mask_of(*lines: str, columns: str = HEADER) -> PixelMask:
    return mask_from_text("\n".join([columns, *lines]), GEOMETRY, "tests")


def write_list(path: Path, *lines: str, columns: str = "sensor,row,col,kind,rate,charge,run"):
    path.write_text("\n".join([columns, *lines]) + "\n")
    return path


@st.composite
def masks(draw: st.DrawFn) -> PixelMask:
    """Rectangles of any kind, which may overlap, some for a range of entries."""

    def span(last: int) -> tuple[int, int]:
        first = draw(st.integers(0, last))
        return first, draw(st.integers(first, last))

    lines = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.integers(0, 2))
        hot = KINDS[kind] == "hot"
        lines.append((
            draw(st.integers(0, 2)), span(11), span(19), kind,
            draw(st.floats(0, 1)) if hot else 0.0,
            tuple(c + 2 for c in span(298)) if hot else (2, 300),
            draw(st.sampled_from([ALWAYS, span(5)])),
        ))  # fmt: skip
    return PixelMask(GEOMETRY, np.array(lines, LINE))
