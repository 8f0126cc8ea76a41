"""A model as a hub expects it: ``kerasgen release RUN --to FOLDER`` or ``hf://ORGANISATION/NAME``.

Writes weights in 16 bit, the other files that generate, figures, ``metrics.json`` and a README
with the metrics in its front matter. ``kerasgen.load`` takes the folder, and the address.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from kerasgen.command import Parser, check_folder, run
from kerasgen.errors import InputError

README = "README.md"


def write_hub_folder(run: str, made: Path, load: str, licence: str | None) -> str:
    """Write the folder of a model on a hub.

    Args:
        run: finished and evaluated run folder, or recipe with released weights.
        made: an empty folder.
        load: what ``kerasgen.load`` is going to take, for the README.
        licence: SPDX identifier; None: MIT for released weights, nothing for others.

    Returns:
        The name of the recipe.

    Raises:
        InputError: no such run, not a finished one, or weights that cannot be released.
    """
    from kerasgen.models.trained import read_config
    from kerasgen.run_folder import write_text
    from kerasgen.serving.versions import REPORT
    from kerasgen.zoo.citation import citation, citation_of
    from kerasgen.zoo.hub_card import hub_card
    from kerasgen.zoo.lookup import find_run, released
    from kerasgen.zoo.release_files import finished_config, write_release

    folder = find_run(run)
    config = read_config(folder)
    if folder in released().values():
        left = ("recipe.toml", README)
        for path in (p for p in folder.iterdir() if p.is_file() and p.name not in left):
            shutil.copy(path, made / path.name)
        record = json.loads((folder / REPORT).read_text("utf-8"))
        card, cited = (folder / README).read_text("utf-8"), citation(config.recipe)
        licence = licence or "mit"
    else:
        record = write_release(folder, made, finished_config(folder))
        card, cited = None, citation_of(config)
    write_text(made / README, hub_card(record, card, load, cited, licence))
    return config.recipe


def main(argv: list[str] | None = None) -> int:
    """Command ``release``; see the module."""
    parser = Parser(prog="kerasgen release", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "run", metavar="RUN", help="finished run folder, or recipe with released weights"
    )
    parser.add_argument(
        "--to", required=True, metavar="FOLDER|hf://ORGANISATION/NAME",
        help="a new folder, or where to upload it (extra [hub])",
    )  # fmt: skip
    parser.add_argument(
        "--license", metavar="ID",
        help="licence of the weights, as the hub names it (default: mit for released weights)",
    )  # fmt: skip
    a = parser.parse_args(argv)
    from kerasgen.zoo import hub

    if hub.is_address(a.to):
        hub.check_hub(a.to)
        with tempfile.TemporaryDirectory() as made:
            recipe = write_hub_folder(a.run, Path(made), a.to, a.license)
            print(f"{hub.upload(Path(made), a.to, f'{recipe}, by kerasgen release')}: uploaded")
        return 0
    target = Path(a.to)
    check_folder(target, "--to")
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"--to {target}: is not empty, name another folder")
    from kerasgen.atomic import make_folder, refused_writes
    from kerasgen.zoo.release_files import staging

    with refused_writes(target):
        make_folder(target.parent)
        with staging(target) as folder:
            write_hub_folder(a.run, folder, target.name, a.license)
            os.rename(folder, target)
    print(f"{target}: written")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
