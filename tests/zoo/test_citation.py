"""What to cite: every recipe, in BibTeX that a program can read, and nothing that is not used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kerasgen
from kerasgen.data import pixel_source, point_source
from kerasgen.errors import InputError
from kerasgen.losses import adversarial
from kerasgen.metrics import pixel, point_sets
from kerasgen.references import references
from kerasgen.zoo.catalogue import recipes, zoo_folder

ROOT = Path(__file__).parents[2]
PARTS = ["program", "model", "data", "metrics"]


def entries(text: str) -> dict[str, dict[str, str]]:
    """Fields of BibTeX entries by key, read brace by brace as BibTeX does.

    Raises:
        ValueError: braces that do not balance, a key that stands twice, or text that is neither
            an entry nor a line that begins with ``%``.
    """
    found: dict[str, dict[str, str]] = {}
    rest = "\n".join(line for line in text.splitlines() if not line.startswith("%")).strip()
    while rest:
        head = re.match(r"@\w+\{([\w:-]+),\n", rest)
        if not head or head[1] in found:
            raise ValueError(rest[:60])
        fields, depth, end = {}, 1, head.end()
        while depth:
            if end == len(rest):
                raise ValueError(f"{head[1]}: braces do not balance")
            depth += {"{": 1, "}": -1}.get(rest[end], 0)
            end += 1
        for line in rest[head.end() : end - 1].splitlines():
            field = re.fullmatch(r"  (\w+) = \{(.*)\},", line)
            if not field or field[2].count("{") != field[2].count("}"):
                raise ValueError(line)
            fields[field[1]] = field[2]
        found[head[1]], rest = fields, rest[end:].strip()
    return found


@pytest.mark.parametrize("name", sorted(recipes()))
def test_every_recipe_has_what_to_cite(name: str) -> None:
    text = kerasgen.citation(name)
    found = entries(text)
    assert repr(text) == text  # a console shows it line by line
    assert re.findall(r"^% the (\w+)", text, re.M) == PARTS
    assert found["kerasgen"]["version"]
    assert len(found) >= 4
    for key, fields in found.items():
        assert {"author", "title"} <= set(fields), key
        if key != "kerasgen":
            assert fields["year"].isdecimal(), key
            assert {"eprint", "doi"} & set(fields), key


def test_the_parts_of_a_recipe() -> None:
    biggan, clusters = entries(kerasgen.citation("pxd_biggan")), kerasgen.citation("pxd_clusters")
    assert {"yu2016", "huang2025", "agostinelli2003", "hashemi2023", "krause2024"} <= set(biggan)
    assert "miyato2018" not in biggan  # spectral norm is off
    assert set(biggan) - set(entries(clusters)) >= {"yu2016", "huang2025", "kang2020"}
    assert "dinh2016" in kerasgen.citation("jet_vae_flow")
    assert "dinh2016" not in kerasgen.citation("jet_vae")
    own = kerasgen.citation("pxd_timepix")
    assert "% the data: timepix.h5 (please cite its source)" in own


def test_a_paper_stands_where_it_is_named_first() -> None:
    text = kerasgen.citation("pxd_biggan_deep")
    assert text.index("% the model") < text.index("{hashemi2023,") < text.index("% the data")
    assert "% the data: simulate:pxd (see above)" in text


def test_a_recipe_of_the_users_and_of_an_algorithm_of_the_users(tmp_path: Path) -> None:
    """An algorithm that is installed brings entries of its own."""
    recipe = tmp_path / "mine" / "recipe.toml"
    recipe.parent.mkdir()
    recipe.write_text((zoo_folder() / "jet_vae" / "recipe.toml").read_text("utf-8"))
    assert kerasgen.citation(str(recipe)) == kerasgen.citation("jet_vae")
    third = ROOT / "tests" / "third_algorithm"
    code = (
        f"import kerasgen; print(kerasgen.citation({str(third / 'gaussian_points/recipe.toml')!r}))"
    )
    path = f"import sys; sys.path[:0] = [{str(third)!r}, {str(ROOT)!r}]; "
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True)
    assert "gauss1809" in entries(done.stdout), done.stderr


def test_sets_of_a_file_that_is_not_here(tmp_path: Path) -> None:
    """Whether they are jets cannot be known: the metrics of both are named."""
    recipe = tmp_path / "mine.toml"
    text = (zoo_folder() / "jet_vae" / "recipe.toml").read_text("utf-8")
    recipe.write_text(text.replace('"simulate:jets"', '"/elsewhere/jets.h5"'))
    found = kerasgen.citation(str(recipe))
    assert "% the data: jets.h5 (please cite its source)" in found
    assert {*point_sets.JET_PAPERS, *point_sets.SUPERPIXEL_PAPERS} <= set(entries(found))
    assert "bierlich2022" not in found


def test_unknown_name() -> None:
    with pytest.raises(InputError, match=r"unknown recipe 'pxd_bigan'; did you mean 'pxd_biggan'"):
        kerasgen.citation("pxd_bigan")
    with pytest.raises(InputError, match=r"allowed: jet_flow, .*superpixel_vae_mnist"):
        kerasgen.citation("nothing")


def test_every_reference_is_named_and_every_name_is_a_reference() -> None:
    text = (Path(kerasgen.__file__).parent / "references.bib").read_text("utf-8")
    found = entries(text.split("\n\n", 1)[1])
    assert set(found) == set(references())
    named = {
        p for table in (pixel_source.PAPERS, point_source.PAPERS) for x in table.values() for p in x
    }
    named |= {*adversarial.PAPERS.values(), *pixel.METRIC_PAPERS}
    named |= {*point_sets.JET_PAPERS, *point_sets.SUPERPIXEL_PAPERS}
    for path in (ROOT / "kerasgen" / "models").glob("*/algorithm.py"):
        named |= set(re.findall(r'"([a-z]+(?:19|20)\d\d[a-z]*)"', path.read_text("utf-8")))
    assert named == set(found)


@pytest.mark.parametrize(
    "text", ["@a{b,\n  c = {d,\n}", "@a{b,\n}\n@a{b,\n}", "@a{b,\n  c {},\n}", "x"]
)
def test_what_is_no_bibtex_would_be_found(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        entries(text)
