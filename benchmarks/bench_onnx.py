"""Cost of an event of exported models: ONNX Runtime against TensorFlow, in turns on one core.

    python benchmarks/bench_onnx.py --out benchmarks/bench_onnx.md

Both exports of a model generate the same events, each in a process of its own, one event after
another in turns, so that both meet the same state of the machine. ``--exported`` takes folders that
are there already. The first event, which plans memory, is apart.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MODELS = ["pxd_clusters", "pxd_biggan"]
ROOT = Path(__file__).parents[1]
# A process that answers each line (an event number) with an image, and reports its cost.
COMMON = """
import os, resource, sys, time
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import numpy as np
folder, out = sys.argv[1:]
sensor = np.arange(40, dtype=np.int32)
start = time.process_time()
{load}
loaded = time.process_time() - start
for line in sys.stdin:
    seed = np.array([[77, int(line)]] * 40)
    start = time.process_time()
    adu = np.asarray(generate(sensor=sensor, seed=seed)["adu"])
    cpu = time.process_time() - start
    np.save(out, adu)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(loaded, cpu, memory, flush=True)
"""
LOAD = {
    "TensorFlow": """
from pathlib import Path
from kerasgen.serving.saved_model import load_exported
generate = load_exported(Path(folder)).generator.serving_default
""",
    "ONNX Runtime": """
from kerasgen.serving.onnx_model import OnnxModel
model = OnnxModel(folder)
model.session("serving_default")
generate = model.serving_default
""",
}


class Child:
    """A process that generates events with one of the programs.

    Args:
        program: key of LOAD.
        folder: of the exported model.
        out: file of the last image.
    """

    def __init__(self, program: str, folder: Path, out: Path) -> None:
        self.out = out
        code = COMMON.format(load=LOAD[program])
        threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(out)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | dict.fromkeys(threads, "1") | {"PYTHONPATH": paths},
        )  # fmt: skip

    def event(self, number: int) -> tuple[list[float], NDArray[np.uint8]]:
        """Cost (load, s; event, s; peak memory, MiB) and images [40, rows, columns] of an event."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        cost = [float(x) for x in self.process.stdout.readline().split()]
        return cost, np.load(self.out)


def export(model: str, form: str, out: Path) -> Path:
    """Export a model; returns the folder of its version."""
    command = [sys.executable, "-m", "kerasgen", "export", model, "--format", form]
    if form == "onnx":
        command += ["--signature", "serving_default"]
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return out / ("onnx" if form == "onnx" else "") / model / "1"


def exported_folder(model: str, form: str, out: Path) -> Path:
    """The newest version below ``out``, exported now if there is none."""
    folder = out / ("onnx" if form == "onnx" else "") / model
    versions = [int(p.name) for p in folder.glob("[0-9]*")]
    return folder / str(max(versions)) if versions else export(model, form, out)


def rows_of(model: str, out: Path, events: int) -> list[str]:
    """Rows of the table: a model by both programs."""
    with tempfile.TemporaryDirectory() as home:
        children = [
            Child(name, exported_folder(model, form, out), Path(home) / f"{form}.npy")
            for name, form in zip(LOAD, ("saved_model", "onnx"), strict=True)
        ]
        costs, different, fired = [], 0, 0
        for number in range(events + 1):
            found = [child.event(number) for child in children]
            costs.append([cost for cost, _ in found])
            a, b = (image for _, image in found)
            different += np.count_nonzero(a != b)
            fired += np.count_nonzero((a != 0) | (b != 0))
        for child in children:
            child.process.terminate()
            child.process.wait()
    table = np.array(costs)  # [events, program, cost]
    lines = []
    for k, name in enumerate(LOAD):
        event = table[1:, k, 1]
        lines.append(
            f"| {model} | {name} | {event.mean():.3f} ± {event.std() / events**0.5:.3f} "
            f"| {table[0, k, 0]:.1f} | {table[0, k, 1]:.1f} | {table[-1, k, 2]:.0f} "
            f"| {different} of {fired} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help="recipes with released weights")
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--exported", type=Path, help="folder of exported models")
    parser.add_argument("--out", type=Path, help="Markdown file")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        rows = [x for m in a.models for x in rows_of(m, a.exported or Path(home), a.events)]
    lines = [
        "# ONNX Runtime against TensorFlow",
        "",
        f"`python benchmarks/bench_onnx.py`: {a.events} events of 40 sensors, "
        "dense images, on one core and one thread, both programs in turns. Times are those of the "
        "processor; pixels that differ are counted over those that fired in either.",
        "",
        "| model | program | s per event | load, s | first event, s | MiB | pixels that differ |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if a.out:
        a.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
