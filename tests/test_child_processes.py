"""Child processes leave Ctrl-C to their parent from their first instruction on."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# The first child process of a program: multiprocessing starts a process of its own before it.
FIRST_CHILD = """
import time
from multiprocessing import get_context
from pathlib import Path
from kerasgen.child_processes import ctrl_c_blocked

if __name__ == "__main__":
    child = get_context("spawn").Process(target=time.sleep, args=(60,), daemon=True)
    with ctrl_c_blocked():
        child.start()
    print(Path(f"/proc/{child.pid}/status").read_text())
    print("parent")
    print(Path("/proc/self/status").read_text())
    child.kill()
"""


def blocks_ctrl_c(status: str) -> bool:
    mask = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(mask.split()[1], 16) >> (signal.SIGINT - 1) & 1)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_the_first_child_blocks_ctrl_c_and_its_parent_does_not(tmp_path):
    script = tmp_path / "first_child.py"
    script.write_text(FIRST_CHILD)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    child, parent = done.stdout.split("parent\n")
    assert blocks_ctrl_c(child)
    assert not blocks_ctrl_c(parent)
