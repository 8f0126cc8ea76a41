"""What to cite where a model is used: ``print(kerasgen.citation("pxd_biggan"))``."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from kerasgen.config import RunConfig
from kerasgen.keras_import import check_keras
from kerasgen.models.algorithm import algorithm_of
from kerasgen.quiet_import import quiet_tensorflow
from kerasgen.references import references
from kerasgen.zoo.recipes import load_config


class Citation(str):
    """A text that a console and a notebook show line by line."""

    def __repr__(self) -> str:
        return str(self)


def citation(recipe: str) -> Citation:
    """BibTeX of all that a recipe is built on: program, model, data and metrics.

    The data are those that the recipe trains on unless it is told otherwise. A paper stands once,
    where it is named first.

    Args:
        recipe: name of a recipe, or path of a recipe file.

    Returns:
        BibTeX entries; a line that begins with ``%`` says what the entries below it are for.

    Raises:
        InputError: unknown recipe, or one that cannot be used.
    """
    quiet_tensorflow()
    check_keras()
    return citation_of(load_config(recipe))


def citation_of(config: RunConfig) -> Citation:
    """What ``citation`` returns, of the configuration of a run."""
    algorithm, source = algorithm_of(config.algorithm), Path(config.data.source)
    named = source.name if source.is_absolute() else config.data.source
    parts = {
        "the program": (software(),),
        f"the model: algorithm {config.algorithm}": algorithm.papers(config),
        f"the data: {named}": algorithm.kind.data_papers(config.data),
        "the metrics of its evaluation": algorithm.kind.metric_papers(config.data),
    }
    known, seen, blocks = references(), set[str](), []
    for title, papers in parts.items():
        new = [known.get(paper, paper) for paper in papers if paper not in seen]
        seen.update(papers)
        if not papers:
            title += " (please cite its source)"
        elif not new:
            title += " (see above)"
        blocks.append("\n\n".join([f"% {title}", *new]))
    return Citation("\n\n".join(blocks) + "\n")


def software() -> str:
    """BibTeX of this program in the version that runs."""
    return (
        "@software{kerasgen,\n"
        "  author = {{kerasgen contributors}},\n"
        "  title = {kerasgen: generative models of sparse detector data},\n"
        f"  version = {{{metadata.version('kerasgen')}}},\n"
        "}"
    )
