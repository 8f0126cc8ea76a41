"""The notebook runs from top to bottom, and is stored without outputs."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbclient, which the extra [test] brings")
ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
SECONDS = 120  # of processor time, with nothing beside it: `make test` runs this file alone


@pytest.fixture
def notebook() -> Any:
    found = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(found)
    return found


def test_no_output_is_stored(notebook: Any) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) > 5
    for cell in cells:
        assert cell.outputs == []
        assert cell.execution_count is None


def test_links_lead_somewhere(notebook: Any) -> None:
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all((NOTEBOOK.parent / link).is_file() for link in links)


def outputs(notebook: Any, word: str) -> str:
    """What the only cell with a word in it has printed; figures by their type."""
    (cell,) = (x for x in notebook.cells if x.cell_type == "code" and word in x.source)
    texts = [x.get("text", "") + " ".join(x.get("data", {})) for x in cell.outputs]
    return "\n".join(texts)


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbclient import NotebookClient

    # The commands of the notebook are those of these tests.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # as a reader sees it
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "80 sensor images" in outputs(notebook, 'kerasgen.load("pxd_clusters")')
    assert "image/png" in outputs(notebook, "plot(model, hits)")
    assert "image/png" in outputs(notebook, "plot(digits")
    assert "adu_w1: " in outputs(notebook, "cluster_size_u")
    assert "events.out.tfevents" in outputs(notebook, "toy/logs")
    assert "SavedModel: toy/exported/superpixel_vae/1" in outputs(notebook, "--run toy")
    assert (tmp_path / "comparison" / "report.html").stat().st_size > 10_000
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{used:.0f} s of processor time")
    assert 5 < used < SECONDS
