"""A worker of a search as a process of its own: ``python -m kerasgen.tuning.worker STUDY ...``.

It takes the arguments of ``kerasgen tune`` and ends when the process that started it ends.
"""

from __future__ import annotations

from kerasgen.command import run
from kerasgen.tuning.one_run import end_with_the_search
from kerasgen.tuning.search import main

if __name__ == "__main__":
    end_with_the_search()
    raise SystemExit(run(main))
