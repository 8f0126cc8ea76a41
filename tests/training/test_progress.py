"""The progress bar on a real terminal."""

from __future__ import annotations

import os
import termios

import pytest

from kerasgen.training.progress import Progress


def test_the_line_ends_with_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two evaluation intervals, a rollback from the last step, and the end again."""
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    shown = []
    with open(writer, "w", encoding="utf-8") as terminal, open(reader, "rb", 0) as screen:
        monkeypatch.setattr("sys.stderr", terminal)
        bar = Progress(10, 20)
        for steps, back, ends in ((4, None, False), (6, 14, False), (6, None, True)):
            for _ in range(steps):
                bar.advance()
            bar.show({"generator/loss": 1.25, "generator/adversarial": 2.0})
            bar.bar.refresh()
            if back is not None:
                bar.go_back(back)
            if ends:
                bar.close()
            terminal.write("$")
            terminal.flush()
            text = b""
            while not text.endswith(b"$"):
                text += screen.read(4096)
            shown.append(text.decode())
    assert "14/20" in shown[0]
    assert "generator=1.25" in shown[0]
    assert "adversarial" not in shown[0]
    assert "20/20" in shown[1]
    assert "\n" not in shown[0] + shown[1]
    assert "20/20" in shown[2]
    assert shown[2].endswith("\r\n$")


def test_the_time_left_is_said_once_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress(0, 200)
    for stage in ("first", "second"):
        bar.begin_stage(stage)
        for _ in range(60):
            bar.advance()
    bar.close()
    printed = capsys.readouterr().out.splitlines()
    stages = [x for x in printed if x.startswith("Stage")]
    assert stages == ["Stage first from step 0 on", "Stage second from step 60 on"]
    lines = [x for x in printed if "s per step" in x]
    assert [line.split(" for the ")[1] for line in lines] == [
        "160 steps to come, and evaluations",
        "100 steps to come, and evaluations",
    ]
