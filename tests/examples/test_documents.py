"""README, docs and CONTRIBUTING: commands parse, blocks run, links lead somewhere.

Blocks run for real, in this process and in one folder, in the order in which a reader meets them:
a block may use the files of those before it. SHORTER shortens what would take long; NOT_RUN names
every line that is parsed only, and why. Packages such as sybil and pytest-codeblocks run Python
blocks, or start a process for each block of a shell: here most blocks are commands of kerasgen,
and each process would import TensorFlow again.
"""

from __future__ import annotations

import configparser
import functools
import gzip
import os
import re
import shlex
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from markdown_it import MarkdownIt
from toy_run import toy_geometry, write_toy_run

from kerasgen import cli
from kerasgen.command import Parser
from kerasgen.data.hits import from_dense
from kerasgen.data.store import EventWriter
from kerasgen.evaluation import hits
from kerasgen.tuning.study import read_study, studies
from kerasgen.zoo import lookup
from kerasgen.zoo.recipes import load_config

ROOT = Path(__file__).parents[2]
# Keras converts its variables so while it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CHECKS_ALONE = " --dry-run --set data.events=0 --set data.held_out=4 --set adversarial.steps=0"
# Pattern: what a line has instead. Trainings stop after their checks: those that run to their end
# are in tests/training and, with own hits, in test_zoo.py. ``write_reader_files`` has the files.
SHORTER = {
    r"^(kerasgen train pxd_biggan --data .*?)( --dry-run|$)": r"\1" + CHECKS_ALONE,
    r"^kerasgen train (pxd_(timepix|biggan_deep)|superpixel_vae|jet_vae_flow|jet_flow) .*$": (
        r"\g<0> --dry-run"
    ),
    r"^(kerasgen train .*) --run runs/mine": r"\1 --run runs/new",
    r"^kerasgen evaluate runs/mine.*": "kerasgen evaluate runs/mine --data small.h5 --events 4",
    r"^kerasgen generate runs/jets --events 10000": "kerasgen generate jet_vae_flow --events 20",
    r"^kerasgen export pxd_biggan": "kerasgen export runs/mine",
    r"^kerasgen overlay signal.root .*": r"\g<0> --run-number 1",
    r"--events (30000|360000) ": "--events 3 ",
    r"--events 1000000 --shards 100 --shard 3 ": "--events 4 --shards 4 --shard 3 ",
    r"--events (10|1000) ": "--events 2 ",
    r"events=1000": "events=20",
}
# Pattern: why a line is not run.
NOT_RUN = {
    r"^python3 -m venv": "makes an environment",
    r"^pip install": "installs packages; tests/test_packaging.py installs the wheel",
    r"^make ": "installs packages, trains, tests; tests/test_makefile.py has its targets",
    r"^examples/onnx/generate_hits ": "needs a compiler; tests/examples/test_onnx_cpp.py builds it",
    r"^tensorboard ": "does not end",
    r"^tensorflow_model_server ": "does not end; tests/serving/test_client.py starts it",
    r"^docker ": "downloads an image, and does not end",
    r"^kerasgen tune |^KERASTUNER_TUNER_ID=": "trains in processes; tests/tuning runs studies",
    r"^export KERASTUNER_ORACLE_IP=": "of other machines",
    r"^kerasgen train jet_flow --data": "needs 350 000 jets; tests/test_algorithms.py trains it",
    r"^kerasgen train superpixel_vae_mnist": "needs more digits; tests/training/test_vae_run.py",
    r"^kerasgen train superpixel_flow": "needs more digits; tests/serving/test_recipes.py has it",
    r"--resume$": "needs an unfinished run; tests/training/test_run.py has some",
    r"^kerasgen evaluate --reference g30": "needs 100 jets; tests/kinds/test_point_kind.py",
    r" --minutes ": "trains for minutes; tests/training/test_minutes.py",
    r"^kerasgen pack ": "needs an unfinished run; tests/training/test_travel.py has some",
    r" --distribute": "needs JAX as backend; tests/training/test_distributed.py",
    r"hf://": "needs a hub; tests/zoo/test_hub.py has one",
    r"^python -m kerasgen.zoo.release": "needs a finished run; tests/training/test_run.py has one",
    r"GrpcClient\(": "needs a server; tests/serving/test_client.py has one",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a document; ``line`` is that of its first line."""

    document: str
    line: int
    language: str
    text: str


def linked_pages() -> list[str]:
    """The README, the pages that it links to in this order, CONTRIBUTING."""
    found = re.findall(r"\]\((docs/\w+\.md)", (ROOT / "README.md").read_text("utf-8"))
    pages = [name for name in dict.fromkeys(found) if (ROOT / name).is_file()]
    return ["README.md", *pages, "CONTRIBUTING.md"]


def blocks(document: str) -> list[Block]:
    tokens = MarkdownIt().parse((ROOT / document).read_text("utf-8"))
    return [
        Block(document, t.map[0] + 2, t.info, t.content)
        for t in tokens
        if t.type in ("fence", "code_block") and t.map
    ]


RUN_BEFORE: set[str] = set()  # lines of earlier blocks, once is enough
BLOCKS = [block for document in linked_pages() for block in blocks(document)]


def lines_of(block: Block) -> list[str]:
    """Commands of a block for a shell, without comments, continued lines joined."""
    joined = block.text.replace("\\\n", " ").splitlines()
    return [re.sub(r"(^|\s+)#.*", "", line) for line in joined if re.sub(r"(^|\s+)#.*", "", line)]


COMMANDS = [(b, line) for b in BLOCKS if b.language == "sh" for line in lines_of(b)]


def module_and_arguments(line: str) -> tuple[str, list[str]] | None:
    """Module with ``main`` and arguments of a command of kerasgen; None for another command."""
    words = shlex.split(re.sub(r"^(\w+=\S+ )+", "", line))
    if words[:2] == ["python", "-m"] and words[2].startswith("kerasgen"):
        return words[2], words[3:]
    if words[0] == "kerasgen":
        return "kerasgen.cli", words[1:]
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the blocks run: with the files that a reader has, and a cache of its own.

    A model is loaded once, and figures of reports are not rendered.
    """
    place = tmp_path_factory.mktemp("documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("KERASGEN_CACHE", str(place / "cache"))
        patch.setattr(lookup, "load_trained", functools.cache(lookup.load_trained))
        patch.setattr(hits, "figure_to_png", lambda figure: b"")
        write_reader_files()
        yield place


def write_reader_files() -> None:
    """Files of the reader: hits of a small detector, a model of it, frames, jets, digits."""
    config = write_toy_run(Path("runs") / "mine") / "config.toml"
    config.write_text(config.read_text().replace('"toy"', '"pxd_biggan"'))
    rng = np.random.default_rng(1)
    for name in ("small.h5", "real.h5", "mine.h5", "trained_on.h5"):
        with EventWriter(Path(name), toy_geometry(), "tests") as writer:
            image = rng.integers(7, 60, (36, 20, 48)) * (rng.random((36, 20, 48)) < 0.02)
            writer.write(from_dense(image, np.arange(36) % 3, np.arange(36) // 3))
    for name in ("digits.root", "signal.root"):
        assert cli.main(["convert", "small.h5", name]) == 0
    frame = np.repeat(np.arange(80), 5)
    pixel = rng.permuted(np.tile(np.arange(256), (len(frame), 2, 1)), axis=2)[..., 0]
    frames = np.column_stack([frame, pixel, rng.integers(1, 100, len(frame))])
    np.savez("frames.npz", kcl=frames, kcl_nframes=80)
    with h5py.File("g30.hdf5", "w") as file:
        particles = rng.uniform(0.01, 0.5, (6, 30, 4))
        particles[..., 3] = 1
        file["particle_features"] = np.float32(particles)
        file["jet_features"] = np.tile([1000, 0.5, 90, 30.0], (6, 1))
    write_idx("train-images-idx3-ubyte.gz", rng.integers(0, 255, (3, 28, 28)))
    write_idx("train-labels-idx1-ubyte.gz", np.array([3, 1, 4]))


def write_idx(name: str, values: np.ndarray) -> None:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    Path(name).write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def shortened(line: str) -> str:
    for pattern, replacement in SHORTER.items():
        line = re.sub(pattern, replacement, line)
    return line


def not_run(line: str) -> bool:
    return any(re.search(pattern, line) for pattern in NOT_RUN)


def run_line(line: str, folder: Path) -> int:
    """Run a command: one of kerasgen in this process, another one in a shell."""
    found = module_and_arguments(line)
    if found is None:
        return subprocess.run(["bash", "-c", line], cwd=folder, timeout=60, check=False).returncode
    module, arguments = found
    try:
        return import_module(module).main(arguments)
    except SystemExit as end:  # of --help and --version
        return end.code or 0


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.document}:{block.line}")
def test_block_runs(block: Block, folder: Path) -> None:
    assert block.language in ("sh", "python", "toml", "pbtxt"), "say which language it is"
    if block.language == "pbtxt":
        assert "backend:" in block.text  # of Triton: tests/serving/test_triton.py reads it
    elif block.language == "toml":
        Path("study.toml").write_text(block.text)
        assert read_study("study.toml").recipe in (p.name for p in (ROOT / "zoo").iterdir())
    elif block.language == "python":
        code = compile(shortened(block.text), f"{block.document}:{block.line}", "exec")
        if not not_run(block.text):
            exec(code, {})
    else:
        for line in lines_of(block):
            if not not_run(line) and shortened(line) not in RUN_BEFORE:
                assert run_line(shortened(line), folder) == 0, line
                RUN_BEFORE.add(shortened(line))


def parser_of(module: str, monkeypatch: pytest.MonkeyPatch) -> Parser:
    """The parser that ``main`` of a module makes."""

    class Made(Exception):
        pass

    def stop(self: Parser, *arguments: object) -> None:
        raise Made(self)

    with monkeypatch.context() as patch:
        patch.setattr(Parser, "parse_args", stop)
        with pytest.raises(Made) as made:
            import_module(module).main([])
    return made.value.args[0]


@pytest.mark.parametrize("document", linked_pages())
def test_commands_parse(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all blocks, run or not: options, values, recipes and keys are those of the program."""
    found = [line for block, line in COMMANDS if block.document == document]
    assert found or not [b for b in BLOCKS if b.document == document and b.language == "sh"]
    for module, words in filter(None, map(module_and_arguments, found)):
        if module == "kerasgen.cli":
            if words[0].startswith("-"):
                continue
            module, words = cli.COMMANDS[words[0]][0], words[1:]
        if words == ["--help"]:
            continue
        parsed = parser_of(module, monkeypatch).parse_args(words)
        if module == "kerasgen.zoo.train":
            load_config(parsed.recipe, parsed.config, parsed.quick, parsed.changes)
        if module == "kerasgen.tuning.search":
            assert parsed.study in (*studies(), "mine.toml")


@pytest.mark.parametrize("document", [*linked_pages(), "zoo/pxd_biggan/README.md"])
def test_options_in_the_text_exist(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``kerasgen COMMAND --option`` between backticks."""
    text = (ROOT / document).read_text("utf-8")
    for command, rest in re.findall(r"`kerasgen ([a-z]+)([^`]*)`", text):
        parser = parser_of(cli.COMMANDS[command][0], monkeypatch)
        assert set(re.findall(r"--[a-z-]+", rest)) <= set(parser._option_string_actions), rest


def test_make_targets_and_extras_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = list(config["options.extras_require"])
    for _, line in COMMANDS:
        words = shlex.split(line)
        if words[0] == "make" and "-C" not in words:
            assert next(w for w in words[1:] if "=" not in w) in targets, line
        for named in re.findall(r"\.\[([\w,]+)\]", line):
            assert set(named.split(",")) <= set(extras), line
    folders = {w for _, x in COMMANDS for v, w in pairwise(shlex.split(x)) if v == "-C"}
    assert folders
    assert all((ROOT / folder / "Makefile").is_file() for folder in folders)


def test_the_tables_of_exceptions_name_nothing_else() -> None:
    """A line of SHORTER or NOT_RUN that no block has any more."""
    lines = [line for _, line in COMMANDS]
    lines += [b.text for b in BLOCKS if b.language == "python"]
    for pattern in (*SHORTER, *NOT_RUN):
        assert any(re.search(pattern, line) for line in lines), pattern


def test_every_page_is_linked_from_the_readme() -> None:
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages == set(linked_pages()) - {"README.md", "CONTRIBUTING.md"}


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def anchors(path: Path) -> set[str]:
    """Names of the headings of a document, as GitHub makes them."""
    tokens = MarkdownIt().parse(path.read_text("utf-8"))
    titles = [b.content for a, b in pairwise(tokens) if a.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(path: Path) -> list[str]:
    """Targets of links and images of a document."""
    tokens = MarkdownIt().enable("table").parse(path.read_text("utf-8"))
    inner = [child for token in tokens for child in token.children or []]
    found = [child.attrs.get("href") or child.attrs.get("src") for child in inner]
    return [str(x) for x in found if x]


DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "zoo/**/*.md", "benchmarks/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path: Path) -> None:
    for link in links(path):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_a_dead_link_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A `b` (c)\n\n[x](no.md) ![y](no.png)\n\n| [z](#a-b-c) |\n")
    assert links(tmp_path / "a.md") == ["no.md", "no.png", "#a-b-c"]
    assert anchors(tmp_path / "a.md") == {"a-b-c"}


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Commands may set variables; the next test has those of before."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
