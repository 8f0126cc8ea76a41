"""Evaluation of generated pixel hits, of runs and of files; it draws figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from kerasgen.command import check_folder
from kerasgen.data.hits import Hits, concatenate, without
from kerasgen.data.pixel_mask import any_unhealthy
from kerasgen.data.pixel_source import PixelDataSettings, source_geometry
from kerasgen.data.store import EventFile, checksum
from kerasgen.errors import InputError
from kerasgen.evaluation.hits import evaluate_samples
from kerasgen.evaluation.report import BASELINE
from kerasgen.evaluation.samples import (
    BLOCK,
    file_sample,
    held_out_count,
    held_out_sample,
    left_out_remarks,
    read_baseline,
    summarise_blocks,
    training_events,
    unhealthy_pixels,
)
from kerasgen.evaluation.studies import (
    candidate_recorders,
    chosen_studies,
    print_cost,
    reference_recorders,
)
from kerasgen.kinds.kind import DataKind, EvaluationRequest, Model
from kerasgen.metrics.compare import check_enough, same_events
from kerasgen.metrics.summary import check_same_geometry
from kerasgen.tracking.study import TRACKS


def evaluate_run(
    kind: DataKind,
    models: dict[str, Model],
    data: PixelDataSettings,
    source: str | None,
    request: EvaluationRequest,
) -> dict[str, Any]:
    """See ``DataKind.evaluate_run``; ``kind``: of pixel hits."""
    check_folder(request.out, "--out")
    real = held_out_count(data, source)
    n = request.events or real
    studies = chosen_studies(
        request.studies, n, request.seed, request.tracks or TRACKS, request.ideal
    )
    if source is not None:
        for model in models.values():
            check_same_geometry(source_geometry(source), model.schema)
    left_out = unhealthy_pixels(source or data.source)
    own = request.bootstrap and source in (None, data.source)
    opened = training_events(data, request.training) if own else nullcontext()
    with opened as known:
        print_cost(real, n, len(models) + bool(known), len(known[1]) if known else 0, studies)
        reference, checksums = held_out_sample(data, source, reference_recorders(studies), left_out)
        geometry = reference.summary.geometry
        baseline = None
        if known and known[0].geometry == geometry:
            known[0].left_out = left_out
            size = {list(models)[-1]: request.model_bytes}
            recorders = candidate_recorders(studies, BASELINE)
            baseline = read_baseline(*known, n, request.seed, recorders, size)
    candidates = {}
    for name, model in models.items():
        seen = candidate_recorders(studies, name)(geometry, n)
        blocks = event_blocks(kind, model, n, request.seed, f"generating, {name}", left_out)
        candidates[name] = summarise_blocks(blocks, geometry, seen)
    remarks = left_out_remarks(left_out)
    if source not in (None, data.source):  # all of its events are the reference
        (content,) = checksums.values()
        for known_file in request.training.items():
            remarks += same_events({
                "reference": (str(source), content), "training": known_file
            })  # fmt: skip
    return evaluate_samples(
        reference, candidates, request.out, request.title, request.config, checksums,
        request.seed, studies, baseline, remarks,
    )  # fmt: skip


def evaluate_files(
    kind: DataKind,
    reference: str,
    candidate: str,
    model: Model | None,
    training: str | None,
    request: EvaluationRequest,
) -> dict[str, Any]:
    """See ``DataKind.evaluate_files``; ``kind``: of pixel hits."""
    check_folder(request.out, "--out")
    paths = [reference, *([training] if training else [])]
    baseline, seed = None, request.seed
    with ExitStack() as stack:
        real = stack.enter_context(EventFile(reference))
        known = stack.enter_context(EventFile(training)) if training else None
        made = None if model else stack.enter_context(EventFile(candidate))
        there = made.n_events if made else real.n_events
        n = request.events or there
        if made and n > there:
            raise InputError(f"{candidate}: has {there} events, {n} were asked for")
        check_enough(reference, real.n_events)
        check_enough(candidate, n)
        geometry = real.geometry
        for other in (made, known):
            if other:
                check_same_geometry(geometry, other.geometry)
        if model:
            check_same_geometry(geometry, model.schema)
        opened = [file for file in (real, made, known) if file]
        left_out = any_unhealthy(file.mask for file in opened)
        for file in opened:
            file.left_out = left_out
        studies = chosen_studies(request.studies, n, seed, request.tracks or TRACKS)
        stored = known.n_events if known else 0
        print_cost(real.n_events, n, 2 if known else 1, stored, studies)
        a = file_sample(real, range(real.n_events), reference_recorders(studies))
        if known:
            recorders = candidate_recorders(studies, BASELINE)
            baseline = read_baseline(known, range(stored), n, seed, recorders, {})
        recorders = candidate_recorders(studies, "candidate")
        if model:
            blocks = event_blocks(kind, model, n, seed, "generating", left_out)
            b = summarise_blocks(blocks, geometry, recorders(geometry, n))
            name, version = model.title, model.identity
        elif made:
            b = file_sample(made, range(n), recorders)
            name, version = Path(candidate).name, checksum(candidate)
    alike = len({name, *(Path(p).name for p in paths)}) <= len(paths)
    sums = {p: checksum(p) for p in paths}
    data = {p if alike else Path(p).name: content for p, content in sums.items()}
    data[candidate if alike else name] = version
    samples = {"candidate": candidate, "reference": reference, "training": training}
    sums[candidate] = version
    remarks = left_out_remarks(left_out)
    remarks += same_events({k: (p, sums[p]) for k, p in samples.items() if p})
    return evaluate_samples(
        a, {"candidate": b}, request.out, request.title, None, data, seed, studies, baseline,
        remarks,
    )  # fmt: skip


def event_blocks(
    kind: DataKind,
    model: Model,
    n: int,
    seed: int,
    name: str,
    left_out: NDArray[np.bool_] | None = None,
) -> Iterator[Hits]:
    """Generated events in blocks, as metrics of pairs of events want them, with a bar.

    ``left_out``: bool [sensors, rows, cols], pixels without their hits.
    """
    some: list[Hits] = []
    stream = kind.stream(model, range(n), seed, name, None)
    for hits in tqdm(stream, name, n, unit=" events", disable=None):
        some.append(without(hits, left_out))
        if len(some) == BLOCK:
            yield concatenate(some)
            some = []
    if some:
        yield concatenate(some)
