"""Cost of an event of exported models: TensorFlow, ONNX Runtime, OpenVINO, in turns.

    python benchmarks/bench_onnx.py --out benchmarks/bench_onnx.md

The exports of a model generate the same events, each in a process of its own, one event after
another in turns, so that all meet the same state of the machine. Each program has one core and one
thread, and the rows of ``--cores 2`` two of each. ``--exported`` takes folders that
are there already. The first event, which plans memory, is apart. ``--openvino PYTHON`` is an
interpreter that has OpenVINO and numpy; a model that it does not read has a line instead of a row.
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
cores = int(sys.argv[3])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import numpy as np
folder, out = sys.argv[1:3]
sensor = np.arange(40, dtype=np.int32)
start = time.process_time()
{load}
loaded = time.process_time() - start
for line in sys.stdin:
    seed = np.array([[77, int(line)]] * 40)
    start, clock = time.process_time(), time.perf_counter()
    adu = np.asarray(generate(sensor=sensor, seed=seed)["adu"])
    cpu, clock = time.process_time() - start, time.perf_counter() - clock
    np.save(out, adu)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(loaded, cpu, memory, clock, flush=True)
"""
LOAD = {
    "TensorFlow": """
from pathlib import Path
from kerasgen.serving.saved_model import load_exported
generate = load_exported(Path(folder)).generator.serving_default
""",
    "ONNX Runtime": """
from kerasgen.serving.onnx_model import OnnxModel
model = OnnxModel(folder, cores)
model.session("serving_default")
generate = model.serving_default
""",
    "OpenVINO": """
import openvino
settings = {"INFERENCE_NUM_THREADS": cores, "INFERENCE_PRECISION_HINT": "f32"}
model = openvino.Core().compile_model(folder + "/model.onnx", "CPU", settings)
request = model.create_infer_request()
generate = lambda **inputs: {"adu": request.infer(inputs)["adu"]}
""",
}
FORMATS = {"TensorFlow": "saved_model", "ONNX Runtime": "onnx", "OpenVINO": "onnx"}
# The reason why OpenVINO does not read a file, or nothing.
TRY_OPENVINO = """
import sys
try:
    import openvino
except ImportError:
    print("is not installed")
    sys.exit()
try:
    openvino.Core().compile_model(sys.argv[1], "CPU")
except RuntimeError as error:
    lines = [x.strip() for x in str(error).splitlines() if x.strip()]
    found = next((x for x in lines if x.startswith("The ")), lines[-1])
    print(openvino.__version__.split("-")[0], "does not read it:", found)
"""


class Child:
    """A process that generates events with one of the programs.

    Args:
        program: key of LOAD.
        folder: of the exported model.
        out: file of the last image.
        python: interpreter.
        cores: number of cores and threads.
    """

    def __init__(self, program: str, folder: Path, out: Path, python: str, cores: int) -> None:
        self.out = out
        code = COMMON.replace("{load}", LOAD[program])
        threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [python, "-c", code, str(folder), str(out), str(cores)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | dict.fromkeys(threads, str(cores)) | {"PYTHONPATH": paths},
        )  # fmt: skip

    def event(self, number: int) -> tuple[list[float], NDArray[np.uint8]]:
        """Cost and images [40, rows, columns] of an event.

        The cost: processor time of the load and of the event, s; peak memory, MiB; time of the
        event by the clock, s.
        """
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


def refusal(python: str, file: Path) -> str:
    """Why OpenVINO cannot run a file; empty if it can."""
    command = [python, "-c", TRY_OPENVINO, str(file)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def rows_of(model: str, out: Path, events: int, openvino: str, cores: int) -> tuple[list[str], str]:
    """Rows of the table, a model by every program, and why OpenVINO has none.

    Args:
        model: recipe.
        out: folder of exported models.
        events: beside the first one.
        openvino: interpreter that has OpenVINO.
        cores: of every program.
    """
    folders = {form: exported_folder(model, form, out) for form in FORMATS.values()}
    reason = refusal(openvino, folders["onnx"] / "model.onnx")
    programs = [name for name in LOAD if name != "OpenVINO" or not reason]
    with tempfile.TemporaryDirectory() as home:
        children = [
            Child(
                name, folders[FORMATS[name]], Path(home) / f"{name}.npy",
                openvino if name == "OpenVINO" else sys.executable, cores,
            )
            for name in programs
        ]  # fmt: skip
        costs, different, fired = [], np.zeros(len(programs), int), np.zeros(len(programs), int)
        for number in range(events + 1):
            found = [child.event(number) for child in children]
            costs.append([cost for cost, _ in found])
            images = np.array([image for _, image in found])
            different += np.count_nonzero(images != images[0], axis=(1, 2, 3))
            fired += np.count_nonzero((images != 0) | (images[0] != 0), axis=(1, 2, 3))
        for child in children:
            child.process.terminate()
            child.process.wait()
    table = np.array(costs)  # [events, program, cost]
    lines = []
    for k, name in enumerate(programs):
        processor, clock = (
            f"{x.mean():.3f} ± {x.std() / events**0.5:.3f}" for x in table[1:, k, [1, 3]].T
        )
        lines.append(
            f"| {model} | {cores} | {name} | {processor} | {clock} "
            f"| {table[0, k, 0]:.1f} | {table[0, k, 1]:.1f} | {table[-1, k, 2]:.0f} "
            f"| {different[k]} of {fired[k]} |"
        )
    return lines, reason and f"OpenVINO {reason} (`{model}`)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help="recipes with released weights")
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--cores", type=int, nargs="+", default=[1])
    parser.add_argument("--exported", type=Path, help="folder of exported models")
    parser.add_argument(
        "--openvino", default=sys.executable, metavar="PYTHON", help="interpreter that has OpenVINO"
    )
    parser.add_argument("--out", type=Path, help="Markdown file")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        exported = a.exported or Path(home)
        found = [
            rows_of(model, exported, a.events, a.openvino, cores)
            for cores in a.cores
            for model in a.models
        ]
    reasons = dict.fromkeys(reason for _, reason in found if reason)
    lines = [
        "# ONNX Runtime against TensorFlow",
        "",
        f"`python benchmarks/bench_onnx.py --cores {' '.join(map(str, a.cores))}`: {a.events} "
        "events of 40 sensors, dense images, the programs in turns. Times without another remark "
        "are those of the processor; pixels that differ from TensorFlow's are counted over those "
        "that fired in either.",
        "",
        "| model | cores | program | s per event | by the clock | load, s | first event, s | MiB "
        "| pixels that differ |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row for rows, _ in found for row in rows),
        *(line for reason in reasons for line in ("", reason)),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if a.out:
        a.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
