"""The command line as a user meets it: real processes, exit codes, one line on standard error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kerasgen.cli import COMMANDS, main
from kerasgen.command import Parser, integer, run
from kerasgen.errors import InputError, RunFailure
from kerasgen.quiet_import import without_notes


def kerasgen(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "kerasgen", *arguments)


def python(
    *arguments: str, environment: dict[str, str | None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python; a variable that is None in ``environment`` is unset."""
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={name: value for name, value in variables.items() if value is not None},
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that refused its input."""
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("kerasgen: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_unknown_command_names_the_nearest_and_all_allowed():
    line = complaint(kerasgen("evalute"))
    assert "did you mean 'evaluate'?" in line
    assert all(command in line for command in COMMANDS)


def test_no_command():
    assert "no command given" in complaint(kerasgen())


def test_unknown_option_names_the_nearest():
    assert "did you mean '--version'?" in complaint(kerasgen("--verson"))
    assert "unknown option '--hlep'; did you mean '--help'?" in complaint(
        kerasgen("list", "--hlep")
    )


def test_version():
    result = kerasgen("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("kerasgen 0.")
    assert result.stderr == ""


def test_console_script_and_module_forms_agree():
    script = Path(sys.executable).with_name("kerasgen")
    console = subprocess.run([script, "list"], capture_output=True, text=True, timeout=120)
    assert console.returncode == 0
    assert console.stdout == kerasgen("list").stdout
    assert console.stdout == python("-m", "kerasgen.zoo.list").stdout


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_does_not_import_tensorflow(command: str):
    """Help and misspelt options must not wait the seconds that TensorFlow takes to import."""
    arguments = [command, "--help"] if command else ["--help"]
    result = python(
        "-c",
        "import sys\n"
        "from kerasgen.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "finally:\n"
        "    print('heavy:', sorted({'tensorflow', 'keras'} & set(sys.modules)))\n",
    )
    assert result.returncode == 0, result.stderr
    assert "usage: kerasgen" in result.stdout
    assert "heavy: []" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_an_unknown_option_in_one_line(command: str):
    # Some commands ask for their positional arguments first, which is one line as well.
    complaint(kerasgen(command, "--no-such-option"))


def test_interrupt_exits_130():
    waiting = (
        "import time\n"
        "from kerasgen.command import run\n"
        "def wait(argv):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "raise SystemExit(run(wait))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", waiting],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "kerasgen: interrupted\n"


def test_reader_that_leaves_early_is_no_error():
    endless = (
        "from kerasgen.command import run\n"
        "def talk(argv):\n"
        "    while True:\n"
        "        print('x' * 1000)\n"
        "raise SystemExit(run(talk))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", endless], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, tmp_path: Path) -> None:
    """What is printed does not get into the file that is written, whatever number it has."""
    work = (
        "import os, sys\n"
        "from kerasgen.command import run\n"
        "def work(argv):\n"
        "    with open(argv[0], 'w') as file:\n"
        "        file.write('done')\n"
        "        print('printed', flush=True)\n"
        "        os.write(1, b'printed')\n"
        "        os.write(2, b'')\n"
        "    return 0\n"
        "raise SystemExit(run(work, sys.argv[1:]))\n"
    )
    path = tmp_path / "file"
    done = subprocess.run(
        ["sh", "-c", f'"$0" "$@" {closed}', sys.executable, "-c", work, str(path)],
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert path.read_text() == "done"


@pytest.mark.parametrize(("flush", "named"), [(False, b"standard output: "), (True, b"")])
def test_output_that_is_not_taken_is_an_error(flush: bool, named: bytes) -> None:
    talk = (
        "from kerasgen.command import run\n"
        f"raise SystemExit(run(lambda argv: print('x', flush={flush}) or 0))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", talk], stdout=full, stderr=subprocess.PIPE, env=environment
        )
    assert done.returncode == 1
    assert done.stderr == b"kerasgen: " + named + b"no space left on device\n"


def test_failures_become_a_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]):
    def failing(error: BaseException):
        def command(argv: list[str] | None) -> int:
            raise error

        return command

    cases = [
        (InputError("a.h5: event 3\nhas no hits"), 2, "kerasgen: a.h5: event 3 has no hits\n"),
        (RunFailure("loss is NaN at step 7"), 1, "kerasgen: loss is NaN at step 7\n"),
        (OSError(28, "No space left on device"), 1, "kerasgen: no space left on device\n"),
        (OSError(28, "No space left on device", "a.h5"), 1, "kerasgen: a.h5: no space left"),
    ]
    for error, code, line in cases:
        assert run(failing(error)) == code
        assert capsys.readouterr().err.startswith(line)
    with pytest.raises(ZeroDivisionError):  # a defect keeps its traceback
        run(failing(ZeroDivisionError()))


USES_TENSORFLOW = """
import os, sys
from kerasgen.command import run
def command(argv):
    import tensorflow as tf
    print(int(tf.reduce_sum(tf.ones([3]))))
    os.write(2, b"E0000 of the command itself\\n")
    return 0
raise SystemExit(run(command))
"""


def test_tensorflow_start_up_notes_stay_off_the_terminal():
    quiet = python("-c", USES_TENSORFLOW, environment={"TF_CPP_MIN_LOG_LEVEL": None})
    assert (quiet.returncode, quiet.stdout) == (0, "3\n")
    assert quiet.stderr == "E0000 of the command itself\n"


def test_notes_filter_keeps_everything_else(capfd: pytest.CaptureFixture[str]):
    with without_notes():
        os.write(2, b"I0000 00:00:1795298093.700175    7399 port.cc:153] a note\n")
        os.write(2, b"2026-01-01 00:00:00.000001: I a/b.cc:1] another\n")
        os.write(2, b"ImportError: what the user must see\n")
    assert capfd.readouterr().err == "ImportError: what the user must see\n"


def parser_with_subcommand() -> Parser:
    parser = Parser(prog="kerasgen simulate")
    kinds = parser.add_subparsers(dest="kind", required=True)
    pxd = kinds.add_parser("pxd")
    pxd.add_argument("--events", type=integer(1, 1000), required=True)
    return parser


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pxs"], "unknown 'pxs'; did you mean 'pxd'?"),
        (["pxd", "--evnts", "3"], "required: --events"),
        (["pxd", "--events", "3", "--evnt", "3"], "unknown option '--evnt'; did you mean"),
        (["pxd", "--event", "3"], "required: --events"),
        (["pxd", "--events", "0"], "'0' is not a whole number in 1..1000"),
        (["pxd", "--events", "1001"], "'1001' is not a whole number in 1..1000"),
        (["pxd", "--events", "1e3"], "'1e3' is not a whole number in 1..1000"),
        (["pxd", "--events", "3", "more"], "unexpected argument 'more'"),
    ],
)
def test_parser_complaints(arguments: list[str], message: str):
    with pytest.raises(InputError) as error:
        parser_with_subcommand().parse_args(arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_parser_accepts_what_is_right():
    options = parser_with_subcommand().parse_args(["pxd", "--events", "1000"])
    assert (options.kind, options.events) == ("pxd", 1000)


def test_main_takes_arguments(capsys: pytest.CaptureFixture[str]):
    assert main(["list"]) == 0
    assert capsys.readouterr().out


def test_commands_draw_without_windows():
    code = (
        "import kerasgen.command as c; c.run(lambda argv: bool(__import__('matplotlib')) - 1, [])"
    )
    done = python("-c", code, environment={"MPLBACKEND": "nonsense"})
    assert (done.returncode, done.stderr) == (0, "")
