"""Models on a hub: the folder that a hub expects, download and upload on a loopback hub."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from hub_server import TOKEN, Hub, findings, running_hub
from toy_run import write_toy_run

import kerasgen
from kerasgen.data.point_store import PointFile
from kerasgen.errors import InputError
from kerasgen.evaluation.key_metrics import sort_of
from kerasgen.zoo import evaluate, generate, hub, hub_card, publish
from kerasgen.zoo.catalogue import zoo_folder
from kerasgen.zoo.lookup import released

ROOT = Path(__file__).parents[2]
needs_hub = pytest.mark.skipif(
    not importlib.util.find_spec("huggingface_hub"),
    reason="needs huggingface_hub, which the extra [test] brings",
)


def front_matter(readme: str) -> dict:
    assert readme.startswith("---\n")
    return yaml.safe_load(readme.split("---\n")[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a released recipe."""
    target = tmp_path_factory.mktemp("hub") / "new" / "jets"
    assert publish.main(["jet_vae_flow", "--to", str(target)]) == 0
    return target


def test_the_folder_has_card_weights_and_config(folder: Path) -> None:
    recipe = zoo_folder() / "jet_vae_flow"
    here = {p.name for p in folder.iterdir()}
    assert here == {p.name for p in recipe.iterdir()} - {"recipe.toml"}
    for name in here - {"README.md"}:
        assert (folder / name).read_bytes() == (recipe / name).read_bytes()
    assert [p.name for p in folder.parent.iterdir()] == ["jets"]


def test_the_front_matter_has_the_recorded_metrics(folder: Path) -> None:
    text = (folder / "README.md").read_text("utf-8")
    table = front_matter(text)
    assert findings(text)["errors"] == []
    assert table["library_name"] == "keras"
    assert table["license"] == "mit"
    assert {"kerasgen", "sparse_vae"} <= set(table["tags"])
    (model,) = table["model-index"]
    (result,) = model["results"]
    record = json.loads((folder / "metrics.json").read_text("utf-8"))["metrics"]
    keys = sort_of(record).metrics
    assert [m["type"] for m in result["metrics"]] == [name for name in keys if name in record]
    for metric in result["metrics"]:
        expected = record[metric["type"]]["value"] * keys[metric["type"]].factor
        assert metric["value"] == pytest.approx(expected, rel=1e-12), metric
        assert metric["args"]["error"] > 0


def test_the_card_says_how_to_load_and_what_to_cite(folder: Path) -> None:
    text = (folder / "README.md").read_text("utf-8")
    assert 'kerasgen.load("jets")' in text
    assert kerasgen.citation("jet_vae_flow").strip() in text
    assert "## Known failures" in text
    assert "](../" not in text  # no links to what is not there
    assert "![sample.png](sample.png)" in text


@pytest.mark.parametrize("name", sorted(released()))
def test_every_released_card_can_be_published(name: str) -> None:
    record = json.loads((zoo_folder() / name / "metrics.json").read_text("utf-8"))
    card = (zoo_folder() / name / "README.md").read_text("utf-8")
    text = hub_card.hub_card(record, card, "x", "", "mit")
    assert findings(text)["errors"] == []
    assert "](../" not in text
    assert front_matter(text)["model-index"][0]["name"] == name


@needs_hub
def test_the_hubs_own_reader_takes_the_front_matter(folder: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(folder / "README.md").data
    assert card.model_name == "jet_vae_flow"
    assert card.license == "mit"
    first = card.eval_results[0]
    assert (first.dataset_name, first.metric_type) == ("simulate:jets", "w1m")
    assert first.metric_value == pytest.approx(0.0014975010433262278)


@pytest.mark.slow
def test_the_folder_generates_as_the_recipe_does(folder: Path) -> None:
    here, there = (
        kerasgen.generate(kerasgen.load(name), events=3, seed=7)
        for name in (folder, "jet_vae_flow")
    )
    np.testing.assert_array_equal(here.points, there.points)


@pytest.mark.parametrize("value", [1e-05, -2.5e-16, 1e22, 0.0, 3.0, "a: b #c", 'say "x"', "no"])
def test_texts_and_numbers_survive_yaml(value: object) -> None:
    table = {"a": [{"b": value, "c": {"d": [value]}}], "e": value}
    assert yaml.safe_load("\n".join(hub_card.yaml_lines(table))) == table


def test_what_cannot_be_released(tmp_path: Path, folder: Path) -> None:
    run = write_toy_run(tmp_path / "toy-1")
    target = tmp_path / "out"
    with pytest.raises(InputError, match=r"has no report/metrics.json.* yet, finish it"):
        publish.main([str(run), "--to", str(target)])
    assert [p.name for p in tmp_path.iterdir()] == ["toy-1"]
    with pytest.raises(InputError, match="is not empty, name another folder"):
        publish.main(["jet_vae_flow", "--to", str(folder)])
    with pytest.raises(InputError, match="is a file, a folder is needed"):
        publish.main(["jet_vae_flow", "--to", str(folder / "config.toml" / "x")])
    with pytest.raises(InputError, match="has no released weights"):
        publish.main(["pxd_timepix", "--to", str(target)])
    assert not target.exists()


@pytest.mark.parametrize(
    "address",
    ["hf://", "hf://jets", "hf://a/b/c", "hf://a/../b", "hf://a/b@", "hf://a--b/c", "hf://a/b c"],
)
def test_addresses_of_another_form(address: str) -> None:
    with pytest.raises(InputError, match="allowed: hf://ORGANISATION/NAME"):
        kerasgen.load(address)
    with pytest.raises(InputError, match="allowed: hf://ORGANISATION/NAME"):
        publish.main(["jet_vae_flow", "--to", address])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "is_installed", lambda name: name != "huggingface_hub")
    message = r"hf://a/b: needs huggingface_hub: pip install 'kerasgen\[hub\]'"
    with pytest.raises(InputError, match=message):
        kerasgen.load("hf://a/b")
    with pytest.raises(InputError, match=message):
        generate.main(["hf://a/b", "--events", "1", "--out", str(tmp_path / "x.h5")])
    with pytest.raises(InputError, match=message):
        publish.main(["jet_vae_flow", "--to", "hf://a/b"])
    with pytest.raises(InputError, match=message):
        evaluate.main(["--reference", "a.h5", "--candidate", "hf://a/b", "--out", str(tmp_path)])


@pytest.fixture(scope="module")
def loopback() -> Iterator[Hub]:
    with running_hub() as server:
        yield server


@pytest.fixture
def command(loopback: Hub, tmp_path: Path):
    """Run the command line with a hub on the loopback interface and a cache of its own."""

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | {
            "HF_ENDPOINT": loopback.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home"),
            # The stand-in takes weights by Git LFS.
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "kerasgen", *arguments],
            cwd=tmp_path, env=variables | environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return call


@pytest.mark.slow
@needs_hub
def test_upload_and_download(command, loopback: Hub, folder: Path, tmp_path: Path) -> None:
    done = command("release", "jet_vae_flow", "--to", "hf://physics/jets")
    assert done.returncode == 0, done.stderr
    assert f"{loopback.address}/physics/jets: uploaded" in done.stdout
    files = list(loopback.repositories["physics/jets"].values())[-1]
    assert set(files) == {p.name for p in folder.iterdir()} | {".gitattributes"}
    assert files["model.weights.h5"] == (folder / "model.weights.h5").read_bytes()
    readme = files["README.md"].decode()
    assert 'kerasgen.load("hf://physics/jets")' in readme

    events = "--events", "3", "--seed", "7"
    done = command("generate", "hf://physics/jets", *events, "--out", "from_hub.h5")
    assert done.returncode == 0, done.stderr
    offline = {"HF_HUB_OFFLINE": "1"}  # it is in the cache now
    done = command("generate", "hf://physics/jets", *events, "--out", "again.h5", **offline)
    assert done.returncode == 0, done.stderr
    expected = kerasgen.generate(kerasgen.load("jet_vae_flow"), events=3, seed=7).points
    for name in ("from_hub.h5", "again.h5"):
        with PointFile(tmp_path / name) as file:
            np.testing.assert_array_equal(file.read(0, 3).points, expected)


@pytest.mark.slow
@needs_hub
def test_a_revision_stays_what_it_is(command, loopback: Hub, tmp_path: Path) -> None:
    """An address with a revision leads to its files, whatever has been uploaded since."""
    for name in ("jet_vae", "jet_vae_flow"):
        assert command("release", name, "--to", "hf://physics/two").returncode == 0
    old = list(loopback.repositories["physics/two"])[1]
    code = "import sys, kerasgen; m = kerasgen.load(sys.argv[1]); print(m.name, m.config.recipe)"
    script = [sys.executable, "-c", code]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    home = {"HF_ENDPOINT": loopback.address, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": path}
    for address, recipe in (
        ("hf://physics/two", "jet_vae_flow"),
        (f"hf://physics/two@{old}", "jet_vae"),
    ):
        done = subprocess.run(
            [*script, address], env=os.environ | home, capture_output=True, text=True
        )
        assert done.stdout.split() == ["physics/two", recipe], done.stderr


@needs_hub
def test_refusals_are_one_line(command, loopback: Hub) -> None:
    loopback.repositories["physics/other"] = {}
    loopback.commit("physics/other", {"README.md": b"x"})
    generate, nobody = ("--events", "3", "--out", "x.h5"), {"HF_ENDPOINT": unused()}
    cases = [
        (2, "no such model, or you may not see it", ("generate", "hf://physics/no", *generate), {}),
        (2, "no model of kerasgen", ("generate", "hf://physics/other", *generate), {}),
        (2, "no such revision", ("generate", "hf://physics/other@x", *generate), {}),
        (2, "you may not write", ("release", "jet_vae", "--to", "hf://a/b"), {"HF_TOKEN": "hf_x"}),
        (2, '"license" must be', ("release", "jet_vae", "--to", "hf://a/b", "--license", "my"), {}),
        (1, "does not answer", ("generate", "hf://a/b", *generate), nobody),
        (1, "does not answer", ("release", "jet_vae", "--to", "hf://a/b"), nobody),
    ]  # fmt: skip
    for code, text, arguments, environment in cases:
        done = command(*arguments, **environment)
        assert done.returncode == code, (arguments, done.stderr)
        assert text in done.stderr.splitlines()[-1], done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stderr


def unused() -> str:
    """An address where nothing listens."""
    with running_hub() as server:
        return server.address
