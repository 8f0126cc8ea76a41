"""What every command shares: its argument parser, checks of outputs, and exit codes.

Exit codes: 0 done, 1 failure while running, 2 bad input (one line on standard error),
130 interrupted.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from kerasgen.atomic import behind_links
from kerasgen.errors import InputError, RunFailure, nearest
from kerasgen.keras_import import check_keras
from kerasgen.memory import keep_freed_memory
from kerasgen.quiet_import import quiet_tensorflow


class Parser(argparse.ArgumentParser):
    """Argument parser whose complaints are one line (an ``InputError``) with the nearest match."""

    def __init__(
        self, prog: str | None = None, description: str | None = None, **options: Any
    ) -> None:
        # An abbreviated option is a misspelt one: it would change meaning when an option is added.
        super().__init__(prog, description=description, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see --help)")

    def parse_known_args(self, args=None, namespace=None):
        """As in argparse, except that nothing may be left over, in a sub-command neither."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            name = rest[0].split("=")[0]
            if name.startswith("-"):
                raise InputError(f"unknown option {name!r}{nearest(name, self._long_options())}")
            raise InputError(f"unexpected argument {rest[0]!r} (see --help)")
        return found, rest

    def _long_options(self) -> list[str]:
        return [name for name in self._option_string_actions if name.startswith("--")]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            allowed = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(action, f"unknown {value!r}{nearest(str(value), allowed)}")


def integer(lowest: int, highest: int = 2**63 - 1) -> Callable[[str], int]:
    """Argument type: a whole number in ``lowest..highest`` (by default up to int64)."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number in {lowest}..{highest}"
            )
        return value

    return parse


positive_int = integer(1)
non_negative_int = integer(0)


def positive_number(text: str) -> float:
    """Argument type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def check_folder(path: Path, option: str) -> None:
    """Raise InputError if the folder ``path``, given by ``option``, cannot be there."""
    target = behind_links(path)
    place = next(x for x in (target, *target.parents) if x.exists())
    if not place.is_dir():
        raise InputError(f"{option} {path}: {place} is a file, a folder is needed")


def add_force(parser: argparse.ArgumentParser) -> None:
    """The option ``--force`` of commands that write one file; see ``check_output``."""
    parser.add_argument("--force", action="store_true", help="overwrite the file if it is there")


def add_mask(parser: argparse.ArgumentParser) -> None:
    """The option ``--mask`` of commands that write pixel hits."""
    parser.add_argument(
        "--mask", type=Path, metavar="FILE.csv", help="list of dead, masked and hot pixels"
    )


def add_mask_run(parser: argparse.ArgumentParser) -> None:
    """The option ``--run-number`` of commands whose events have no run but that of a mask."""
    parser.add_argument(
        "--run-number", type=integer(0, 2**24 - 1), metavar="R",
        help="run of all events, for a mask whose pixels depend on the run",
    )  # fmt: skip


def check_output(path: Path, force: bool) -> None:
    """Check the name of a file before the work that fills it.

    Raises:
        InputError: a folder, in no folder, or there already and not to be overwritten.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder")
    folder = behind_links(path).parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} does not exist")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; --force overwrites it, or name another file")


def open_standard_streams() -> None:
    """Have standard streams that were closed (``>&-``) lead to the null device.

    The next file that the process opens would get the number of one that is missing, and with it
    what a library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest number
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextmanager
def ended_cleanly() -> Iterator[None]:
    """Let SIGTERM end the process as an exception does, so that half-written files go."""
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave(number: int, frame: Any) -> NoReturn:
    """Handler of a signal: exit with the code that a shell gives it."""
    raise SystemExit(128 + number)


def run(main: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """Call the ``main`` of a command and turn its failures into a line and an exit code."""
    open_standard_streams()
    quiet_tensorflow()
    keep_freed_memory()
    if "matplotlib" not in sys.modules:
        os.environ["MPLBACKEND"] = "agg"  # figures go to files, whatever windows the user likes
    try:
        check_keras()
        code = main(argv)
        flush_output()
        return code
    except InputError as error:
        return _complain(error, 2)
    except RunFailure as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except BrokenPipeError:
        discard_output()  # the reader has gone (``kerasgen list | head -1``)
        return 128 + 13
    except OSError as error:
        if error.errno is None:
            raise  # not the operating system's refusal (disk full, no permission) but a defect
        with suppress(OSError):
            flush_output()
        return _complain(os_reason(error), 1)


def flush_output() -> None:
    """Write what was printed.

    Raises:
        OSError: standard output does not take it, and says so.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise OSError(error.errno, error.strerror, "standard output") from None


def discard_output() -> None:
    """Send what was printed nowhere, or the interpreter's own flush at exit would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def os_reason(error: OSError) -> str:
    """The file, if the error names one, and why the operating system refuses it."""
    reason = error.strerror or str(error)
    named = f"{error.filename}: " if error.filename else ""
    return f"{named}{reason[:1].lower()}{reason[1:]}"


def _complain(reason: object, code: int) -> int:
    print("kerasgen:", str(reason).replace("\n", " "), file=sys.stderr)
    return code
