"""The generator of point sets of a sparse VAE, for the backend that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from kerasgen.backend.engine import BACKEND

if TYPE_CHECKING:
    from kerasgen.models.sparse_vae.vae import SparseVAE


def point_generator(vae: SparseVAE, table: dict[str, NDArray[Any]]) -> Any:
    """On TensorFlow a ``PointGenerator``, which can be exported, else a ``PortablePointGenerator``.

    Both make the same sets of a seed, to rounding.

    Args:
        vae: trained networks and normaliser.
        table: of ``condition_table``.
    """
    kind: Any
    if BACKEND == "tensorflow":
        from kerasgen.models.sparse_vae.sampling import PointGenerator as kind
    else:
        from kerasgen.models.sparse_vae.portable_sampling import PortablePointGenerator as kind
    return kind(vae, table)
