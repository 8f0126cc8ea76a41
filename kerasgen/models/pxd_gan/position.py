"""Position of the cells of a feature map on the sensor."""

from __future__ import annotations

from typing import Any

from keras import ops

# Position is a weak feature beside noise and hits of order one. At full strength the generator
# moves empty and dense regions over the sensor, and the discriminator chases them (seen after 2500
# steps).
POSITION_GAIN = 0.1


def position_map(origin: Any, cells: tuple[int, int], factor: int, image: tuple[int, int]) -> Any:
    """Coordinates (u, v) of the cell centres, [B, h, w, 2].

    They run from -POSITION_GAIN to POSITION_GAIN over the padded sensor.

    Args:
        origin: [B, 2] int, corner of the crop in the padded image, pixels.
        cells: (h, w) of the feature map.
        factor: pixels per cell.
        image: (height, width) of the padded sensor, pixels.
    """
    axes = []
    for axis in (0, 1):
        centre = (ops.arange(cells[axis], dtype="float32") + 0.5) * factor
        start = ops.cast(origin[:, axis : axis + 1], "float32")
        axes.append(2.0 * (start + centre[None, :]) / image[axis] - 1.0)
    u = ops.broadcast_to(axes[0][:, :, None], (ops.shape(origin)[0], *cells))
    v = ops.broadcast_to(axes[1][:, None, :], (ops.shape(origin)[0], *cells))
    return POSITION_GAIN * ops.stack([u, v], axis=-1)
