"""Style of all figures, and conversion of figures to PNG. No display is needed."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

P = ParamSpec("P")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito, safe for colour blindness
GREY = "#d0d0d0"
STYLE: Any = {  # Any: matplotlib types each of its 300 keys by name
    **mplhep.style.ROOT,
    "figure.figsize": (8.0, 5.5),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "xaxis.labellocation": "center",
    "yaxis.labellocation": "center",
    "mathtext.cal": "sans",  # mplhep asks for a cursive font, which few machines have
    "font.cursive": ["DejaVu Sans"],
    "font.size": 13,
    "axes.labelsize": 13,
    "axes.titlesize": 13,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "axes.linewidth": 1.0,
    "xtick.major.size": 6,
    "xtick.minor.size": 3,
    "ytick.major.size": 6,
    "ytick.minor.size": 3,
}


def styled(make_figure: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function that makes a figure, so that the figure has the style."""

    @functools.wraps(make_figure)
    def with_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return make_figure(*args, **kwargs)

    return with_style


def figure_to_png(figure: Figure) -> bytes:
    """Convert a figure to a PNG file; the same figure gives the same bytes."""
    out = io.BytesIO()
    with mpl.rc_context(STYLE):  # ticks are made, and styled, when they are drawn
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def figure_to_png_array(figure: Figure) -> NDArray[np.uint8]:
    """Convert a figure to uint8 [height, width, 3], for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    with mpl.rc_context(STYLE):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
