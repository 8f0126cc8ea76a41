"""``python -m kerasgen`` is the console script ``kerasgen``."""

from kerasgen.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
