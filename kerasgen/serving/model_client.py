"""What clients of a model server have in common: signatures, split requests, repeated attempts."""

from __future__ import annotations

import itertools
import random
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kerasgen.data.level import MAX_LEVEL, checked_level
from kerasgen.errors import InputError, RunFailure

# Of one request: the sensors of an event, and the max_batch_size of exported/batching.config.
MAX_ROWS = 40
RETRY_PAUSE, MAX_RETRY_PAUSE = 0.1, 2.0  # seconds between attempts, doubled each time
# Outputs of the signatures of a model of pixel hits, and their numbers of dimensions.
DENSE, DIGITS = {"adu": 3, "status": 1}, {"count": 1, "hits": 3}
PIXEL_OUTPUTS: dict[str, dict[str, int]] = {
    "serving_default": DENSE, "serving_level": DENSE, "digits": DIGITS, "digits_level": DIGITS,
}  # fmt: skip
HIT_NUMBERS = 3  # row, column, ADU

Arrays = dict[str, NDArray[Any]]


class ServingError(RunFailure):
    """The server refused a request, failed, or could not be reached.

    Attributes:
        code: gRPC's name of the status, as ``NOT_FOUND``.
        transient: whether the same request may succeed later.
    """

    def __init__(self, where: str, code: str, detail: str) -> None:
        super().__init__(f"{where}: {code}: {' '.join(detail.split())[:300]}")
        self.code = code
        self.transient = code == "UNAVAILABLE"


class ModelClient(ABC):
    """Signatures, split requests and repeated attempts, common to both clients.

    Args:
        address: of the server.
        model: name that the model is served under.
        version: number of a version, or its label; None: the default version of the server.
        deadline: seconds that a call may take, with all its requests and attempts.
        attempts: maximum number of attempts of a request while the server is unavailable; None:
            until the deadline.
        types: background types of the model, as its manifest has them; the server gives that of
            each hit where there are several.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | str | None = None,
        deadline: float = 60.0,
        attempts: int | None = None,
        types: tuple[int, ...] = (0,),
    ) -> None:
        self.address = address
        self.model = model
        self.version = version
        self.deadline = deadline
        self.attempts = attempts
        self.types = types

    @abstractmethod
    def request(self, signature: str, inputs: Arrays, seconds: float) -> Arrays:
        """Outputs of a signature, from one attempt.

        Args:
            signature: name of the signature.
            inputs: its inputs by name.
            seconds: that the attempt may take.

        Raises:
            ServingError: the attempt failed.
        """

    def call(self, signature: str, **inputs: Any) -> Arrays:
        """Outputs of any signature of the model, in one request.

        Args:
            signature: name of the signature.
            inputs: its inputs by name.

        Raises:
            ServingError: see there.
        """
        arrays = {name: np.asarray(x) for name, x in inputs.items()}
        return self._attempt(signature, arrays, time.monotonic() + self.deadline)

    def dense(self, sensor: Any, seed: Any) -> Arrays:
        """Dense images; arguments and result as ``EventGenerator.dense``, in numpy arrays.

        Raises:
            InputError: arguments of another shape or type, or a sensor that the model does not
                have.
            ServingError: see there.
        """
        return self._dense("serving_default", sensor=sensor, seed=seed)

    def dense_level(self, sensor: Any, seed: Any, level: Any) -> Arrays:
        """As ``dense``, of background of any level; as ``EventGenerator.dense_level``."""
        return self._dense("serving_level", sensor=sensor, seed=seed, level=level)

    def digits(self, sensor: Any, seed: Any) -> Arrays:
        """Fired pixels; result as ``EventGenerator.digits``, arguments and errors as ``dense``."""
        return self._digits("digits", sensor=sensor, seed=seed)

    def digits_level(self, sensor: Any, seed: Any, level: Any) -> Arrays:
        """As ``digits``, of background of any level; as ``EventGenerator.digits_level``."""
        return self._digits("digits_level", sensor=sensor, seed=seed, level=level)

    def _dense(self, signature: str, **given: Any) -> Arrays:
        images = concatenate_rows(self._split_requests(signature, **given))
        check_sensors(given["sensor"], images["status"] != 0)
        return images

    def _digits(self, signature: str, **given: Any) -> Arrays:
        parts = self._split_requests(signature, **given)
        for part in parts:
            if part["count"].max(initial=0) > part["hits"].shape[1]:
                raise self._error("INTERNAL", "a row has fewer hits than its count says")
        longest = max(int(part["count"].max(initial=0)) for part in parts)
        for part in parts:
            # A server that batches requests pads to the longest row of the batch.
            for name, nothing in ({"hits": -1, "type": 0}).items():
                if name in part:
                    x = part[name][:, :longest]
                    padding = [(0, 0), (0, longest - x.shape[1]), *[(0, 0)] * (x.ndim - 2)]
                    part[name] = np.pad(x, padding, constant_values=nothing)
        digits = concatenate_rows(parts)
        check_sensors(given["sensor"], digits["count"] < 0)
        return digits

    def _split_requests(
        self, signature: str, sensor: Any, seed: Any, level: Any = None
    ) -> list[Arrays]:
        """Outputs of requests of at most ``MAX_ROWS`` rows each."""
        rows: Arrays = {
            "sensor": checked_integers(sensor, np.int32, 1),
            "seed": checked_integers(seed, np.int64, 2),
        }
        n = len(rows["sensor"])
        if level is not None:
            rows["level"] = checked_levels(level, n)
        if not n:
            raise InputError("no rows: at least one sensor is needed")
        if rows["seed"].shape != (n, 2):
            raise InputError(f"seed {list(rows['seed'].shape)}: expected [{n}, 2], one per sensor")
        end = time.monotonic() + self.deadline
        parts = [
            self._attempt(signature, {k: x[i : i + MAX_ROWS] for k, x in rows.items()}, end)
            for i in range(0, n, MAX_ROWS)
        ]
        for part in parts:
            self._check_pixels(signature, part)
        return parts

    def _check_pixels(self, signature: str, outputs: Arrays) -> None:
        """Raise ServingError unless outputs are those of a model of pixel hits."""
        ranks = PIXEL_OUTPUTS[signature]
        good = ranks.keys() <= outputs.keys() and all(
            outputs[name].ndim == rank and outputs[name].dtype.kind in "iu"
            for name, rank in ranks.items()
        )
        if good and "hits" in ranks:
            good = outputs["hits"].shape[2] == HIT_NUMBERS
        if not good:
            found = ", ".join(f"{k} {x.dtype} {list(x.shape)}" for k, x in outputs.items())
            raise self._error(
                "INTERNAL",
                f"{signature} gives {found or 'nothing'}, no model of pixel hits "
                f"(expected whole numbers {' and '.join(ranks)})",
            )

    def _checked(self, inputs: Arrays, outputs: Arrays) -> Arrays:
        """Outputs with one row for each row of the inputs, and numbers in all of them.

        Raises:
            ServingError: other outputs.
        """
        rows = {len(x) for x in inputs.values() if x.ndim}
        for name, x in outputs.items():
            if len(rows) == 1 and (not x.ndim or {len(x)} != rows):
                wanted = f"expected {rows.pop()} rows"
                raise self._error("INTERNAL", f"{name} has the shape {list(x.shape)}, {wanted}")
            if x.dtype.kind == "f" and not np.isfinite(x).all():
                raise self._error("INTERNAL", f"{name} holds values that are no finite numbers")
        return outputs

    def _error(self, code: str, detail: str) -> ServingError:
        return ServingError(f"{self.address}, model {self.model}", code, detail)

    def _attempt(self, signature: str, inputs: Arrays, end: float) -> Arrays:
        """Outputs of one request, repeated on transient errors until the time ``end``."""
        for attempt in itertools.count(1):
            try:
                outputs = self.request(signature, inputs, max(end - time.monotonic(), 1e-3))
                return self._checked(inputs, outputs)
            except ServingError as error:
                # The pause is partly random, so that many jobs do not return at the same time.
                pause = min(RETRY_PAUSE * 2.0 ** min(attempt - 1, 9), MAX_RETRY_PAUSE)
                pause *= random.uniform(0.5, 1.0)
                late = time.monotonic() + pause > end
                if not error.transient or attempt == self.attempts or late:
                    raise
                time.sleep(pause)
        raise AssertionError  # the loop ends by return or raise only


def checked_levels(level: Any, n: int) -> NDArray[np.float32]:
    """Levels of n rows, [n, T].

    Raises:
        InputError: another shape, or no levels.
    """
    levels = np.asarray(level, np.float32)
    if levels.ndim != 2 or len(levels) != n:
        raise InputError(f"level {list(levels.shape)}: expected [{n}, types], a row per sensor")
    for value in levels[~((levels >= 0) & (levels <= MAX_LEVEL))]:
        checked_level(float(value))
    return levels


def checked_integers(values: Any, dtype: type[np.signedinteger], rank: int) -> NDArray[Any]:
    """Integers as an array of the type and rank that the server expects.

    Args:
        values: nested lists or an array.
        dtype: integer type of the result.
        rank: number of dimensions.

    Raises:
        InputError: another rank, or numbers that are not integers or out of range.
    """
    given = np.asarray(values)
    limits = np.iinfo(dtype)
    if given.ndim != rank or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise InputError(
            f"an array {list(given.shape)} of {given.dtype}: expected {rank} dimension(s) of whole "
            "numbers"
        )
    if given.size and not limits.min <= int(given.min()) <= int(given.max()) <= limits.max:
        raise InputError(f"{given.min()}..{given.max()}: allowed: {limits.min}..{limits.max}")
    return given.astype(dtype)


def check_sensors(sensor: Any, unknown: NDArray[np.bool_]) -> None:
    """Raise InputError for the first row whose sensor the model does not have.

    Args:
        sensor: [N], as requested.
        unknown: [N], whether the server marked the sensor as unknown.
    """
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(f"row {row}: the model has no sensor {np.asarray(sensor)[row]}")


def concatenate_rows(parts: list[Arrays]) -> Arrays:
    """Concatenate the outputs of several requests along their rows."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
