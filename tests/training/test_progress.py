"""The progress bar on a real terminal."""

from __future__ import annotations

import os
import termios
from dataclasses import dataclass

import pytest

from kerasgen.training.progress import Progress


@dataclass
class Training:
    """What the bar asks of a GAN, and what ``fit`` does with the bar."""

    step: int = 0
    adversarial: bool = True

    def fit(self, bar: Progress, steps: int) -> None:
        bar.on_train_begin()
        for batch in range(steps):
            self.step += 1
            bar.on_train_batch_end(batch)
        bar.on_train_end()


def test_the_line_ends_with_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stretches, a rollback from the last step, and the end again."""
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    shown = []
    with open(writer, "w", encoding="utf-8") as terminal, open(reader, "rb", 0) as screen:
        monkeypatch.setattr("sys.stderr", terminal)
        training = Training(step=10)
        bar = Progress(training, steps=20)
        for steps, back in ((4, 0), (6, 6), (6, 0)):
            training.fit(bar, steps)
            training.step -= back
            terminal.write("$")
            terminal.flush()
            text = b""
            while not text.endswith(b"$"):
                text += screen.read(4096)
            shown.append(text.decode())
    assert "10/20" in shown[0]
    assert "\n" not in shown[0]
    for text in shown[1:]:
        assert "20/20" in text
        assert text.endswith("\r\n$")
