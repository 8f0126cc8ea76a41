"""The events of a study: made once, cut down if the study says so, the last ones set aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasgen.errors import InputError
from kerasgen.models.algorithm import algorithm_of
from kerasgen.tuning.study import Study


def prepare(study: Study, out: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The data of all trainings of a study.

    Args:
        study: whose data is made at first use.
        out: folder of the study, which gets the reduced events if there are any.

    Returns:
        Recipe keys that name the data, and the events of the test: of how many (``events``) the
        last how many (``held_out``). Trainings have ``events`` - ``held_out``.

    Raises:
        InputError: too few events, or a source that cannot be used.
    """
    config = study.config({})
    kind, data = algorithm_of(config.algorithm).kind, config.data
    source, n = kind.prepare(data, study.reduce, out)
    if n <= study.test + data.held_out:
        raise InputError(
            f"{source}: {n} events, of which {study.test} are for the test and {data.held_out} "
            "(data.held_out) for the objective: none is left to train on"
        )
    test = {"events": n, "held_out": study.test or data.held_out}
    return {"data.source": source, "data.events": n - study.test}, test
