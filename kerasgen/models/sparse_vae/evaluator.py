"""The generator of a running training of the sparse VAE, with its loss terms and latents."""

from __future__ import annotations

import numpy as np

from kerasgen.data.point_events import reconstructed_sets
from kerasgen.data.points import PointSchema, PointSets
from kerasgen.evaluation import point_figures
from kerasgen.evaluation.point_figures import SHOWN
from kerasgen.kinds.points import is_jets
from kerasgen.models.algorithm import Diagnostics
from kerasgen.models.running import RunningModel
from kerasgen.models.set_batches import batch_arrays
from kerasgen.models.set_statistics import Fitted
from kerasgen.models.sparse_vae.generation import point_generator
from kerasgen.models.sparse_vae.settings import VAEConfig
from kerasgen.models.sparse_vae.vae import InferenceNetworks, SparseVAE


class VAEEvaluator:
    """``Evaluator`` of a sparse VAE; see there.

    Args:
        vae: that trains.
        config: of the run.
        schema: schema of the sets.
        fitted: statistics of the training sets.
    """

    chosen_by_score = True

    def __init__(
        self, vae: SparseVAE, config: VAEConfig, schema: PointSchema, fitted: Fitted
    ) -> None:
        self.vae = vae
        self.network = InferenceNetworks(vae)
        generator = point_generator(vae, fitted.conditions)
        self.model = RunningModel(config.recipe, schema, generator)

    def update(self) -> None:
        """Nothing: the networks that train are the ones that generate."""

    def diagnostics(self, held_out: PointSets, generated: PointSets) -> Diagnostics:
        """Loss terms of held-out sets, KL by latent dimension, reconstructions."""
        arrays = batch_arrays(held_out, self.vae.normaliser.coordinates)
        terms = self.vae.test_step(arrays)
        kl = np.asarray(terms.pop("kl_per_dimension"))
        shown, generator = held_out.take(slice(0, SHOWN)), self.model.generator
        rebuilt = reconstructed_sets(generator, shown)
        jets = is_jets(self.model.schema)
        rows = {"input": shown, "reconstruction": rebuilt, "generated": generated}
        return Diagnostics(
            values={name: float(value) for name, value in terms.items()},
            histograms={"kl_per_dimension": kl},
            figures={
                "sets": point_figures.side_by_side(rows, point_figures.SHOWN, jets),
                "kl_per_dimension": point_figures.kl_bars(kl),
            },
        )
