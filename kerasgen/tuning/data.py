"""The events of a study: made once, reduced if the study asks for it, the last ones held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasgen.errors import InputError
from kerasgen.models.algorithm import algorithm_of
from kerasgen.tuning.study import HeldOutTest, Study


def prepare_events(study: Study, out: Path) -> tuple[dict[str, Any], HeldOutTest]:
    """Prepare the events of all trainings of a study.

    Args:
        study: whose events are made at first use.
        out: folder of the study; reduced events are written there.

    Returns:
        Recipe keys that name the events of the trainings, and the test events. Trainings have
        ``events`` - ``held_out`` events.

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
    test = HeldOutTest(events=n, held_out=study.test or data.held_out)
    return {"data.source": source, "data.events": n - study.test}, test
