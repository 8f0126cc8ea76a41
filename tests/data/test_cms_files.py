"""Jets of CMS files: PFNano and NanoAOD v15, PUPPI weights, and indexes that are not believed."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import uproot
from cms_events import CONSTITUENTS, JETS, NAMES, cms_events, write_cms
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasgen.command import run
from kerasgen.data.convert import main
from kerasgen.data.point_store import PointFile
from kerasgen.data.points import PointSets, check_sets

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "cms_pfnano_jets"


def jets_of(source: Path, *options: str) -> PointSets:
    """The jets of a file after its conversion."""
    out = source.with_name("out.h5")
    assert run(main, [str(source), str(out), "--force", *options]) == 0
    with PointFile(out) as file:
        assert file.schema.classes == ("unknown",)
        return file.read(0, len(file))


def assert_refused(source: Path, reason: str, capsys, *options: str) -> None:
    """The file is refused in one line, and nothing is written."""
    out = source.with_name("out.h5")
    assert run(main, [str(source), str(out), *options]) == 2
    line = capsys.readouterr().err
    assert reason in line
    assert line.count("\n") == 1
    assert not list(source.parent.glob("*out.h5"))


@pytest.mark.parametrize("puppi", [False, True])
@pytest.mark.parametrize("variant", NAMES)
def test_constituents_of_each_jet(tmp_path: Path, variant: str, puppi: bool):
    events = cms_events(variant)
    prefix, candidates, place = NAMES[variant]
    options = ["--weights", "puppi"] if puppi else []
    sets = jets_of(write_cms(tmp_path / "in.root", events), *options)
    assert len(sets) == sum(JETS)
    row = 0
    for event, jets in enumerate(JETS):
        values = {name: np.array(values[event]) for name, values in events.items()}
        pt = values[f"{candidates}_pt"]
        pt = pt * values[f"{candidates}_puppiWeight"] if puppi else pt
        for jet in range(jets):
            own = values[f"{prefix}_{place}"][values[f"{prefix}_jetIdx"] == jet]
            own = own[np.argsort(-pt[own])]
            turn = values[f"{candidates}_phi"][own] - values["FatJet_phi"][jet]
            expected = np.stack(
                [
                    values[f"{candidates}_eta"][own] - values["FatJet_eta"][jet],
                    np.arctan2(np.sin(turn), np.cos(turn)),
                    pt[own] / values["FatJet_pt"][jet],
                ],
                -1,
            )
            np.testing.assert_allclose(sets.points[row, :CONSTITUENTS], expected, atol=1e-5)
            assert sets.features[row, 3] == CONSTITUENTS
            row += 1


@pytest.mark.parametrize(
    ("collection", "prefix", "candidates", "place"),
    [
        ("Jet", "JetPFCands", "PFCands", "pFCandsIdx"),
        ("Jet", "JetPFCand", "PFCand", "pfCandIdx"),
        ("GenJetAK8", "GenFatJetCands", "GenCands", "pFCandsIdx"),
        ("GenJetAK8", "GenJetAK8GenPartCand", "GenPartCand", "genPartCandIdx"),
        ("GenJet", "GenJetCands", "GenCands", "pFCandsIdx"),
        ("GenJet", "GenJetGenPartCand", "GenPartCand", "genPartCandIdx"),
    ],
)
def test_other_collections(tmp_path: Path, collection, prefix, candidates, place):
    parts = {"FatJetPFCands": prefix, "PFCands": candidates, "FatJet": collection}
    events = {}
    for name, values in cms_events().items():
        start, end = name.split("_")
        events[f"{parts[start]}_{place if end == 'pFCandsIdx' else end}"] = values
    write_cms(tmp_path / "other.root", events)
    found = jets_of(tmp_path / "other.root", "--collection", collection)
    expected = jets_of(write_cms(tmp_path / "fat.root", cms_events()))
    np.testing.assert_array_equal(found.points, expected.points)


def test_constituents_of_weight_zero_are_left_out(tmp_path: Path, capsys):
    events = cms_events()
    events["PFCands_puppiWeight"][0][:2] = [0, 0]
    events["PFCands_puppiWeight"][3] = [0] * CONSTITUENTS
    source = write_cms(tmp_path / "in.root", events)
    assert jets_of(source).counts.tolist() == [CONSTITUENTS] * 4
    capsys.readouterr()
    sets = jets_of(source, "--weights", "puppi")
    assert sets.counts.tolist() == [CONSTITUENTS - 2, CONSTITUENTS, CONSTITUENTS]
    assert "; 1 of 4 jets left out: no constituents\n" in capsys.readouterr().out


def test_weights_that_are_not_there_or_multiplied_already(tmp_path: Path, capsys):
    events = cms_events("nanoaod")
    source = write_cms(tmp_path / "weights.root", events)
    # The titles of NanoAOD, which uproot cannot write, in place of its own.
    content = source.read_bytes()
    title = b"PFCand_pt[nPFCand_pt]/F"
    assert content.count(title) == 1
    source.write_bytes(content.replace(title, b"Puppi-weighted pt".ljust(len(title))))
    assert_refused(source, "PFCand_pt has the PUPPI weights already", capsys, "--weights", "puppi")
    assert len(jets_of(source)) == sum(JETS)
    del events["PFCand_puppiWeight"]
    source = write_cms(tmp_path / "none" / "in.root", events)
    reason = "has no branch 'PFCand_puppiWeight', which --weights puppi needs"
    assert_refused(source, reason, capsys, "--weights", "puppi")
    np.savez(tmp_path / "none" / "in.npz", a=np.zeros((1, 4)))
    reason = "--weights is not for npz input"
    assert_refused(tmp_path / "none" / "in.npz", reason, capsys, "--weights", "puppi")


def test_a_jet_without_constituents_is_left_out_and_counted(tmp_path: Path, capsys):
    events = cms_events()
    events["FatJetPFCands_jetIdx"][1] = [1] * (2 * CONSTITUENTS)
    source = write_cms(tmp_path / "in.root", events)
    sets = jets_of(source)
    assert sets.counts.tolist() == [CONSTITUENTS, 2 * CONSTITUENTS, CONSTITUENTS]
    line = f"{tmp_path / 'out.h5'}: written; 1 of 4 jets left out: no constituents\n"
    assert capsys.readouterr().out == line


# Branch, event, its values made of the old ones, and the line that refuses them.
DAMAGE = {
    "constituent beyond": ("FatJetPFCands_pFCandsIdx", 0, lambda x: [999, *x[1:]],
                           "FatJetPFCands_pFCandsIdx is 999, of 6 PFCands (allowed: 0..5)"),
    "constituent negative": ("FatJetPFCands_pFCandsIdx", 3, lambda x: [*x[:-1], -1],
                             "event 3: FatJetPFCands_pFCandsIdx is -1, of 6 PFCands"),
    "jet beyond": ("FatJetPFCands_jetIdx", 1, lambda x: [*x[:-1], 2],
                   "event 1: FatJetPFCands_jetIdx is 2, of 2 FatJet (allowed: 0..1)"),
    "jet negative": ("FatJetPFCands_jetIdx", 1, lambda x: [-1, *x[1:]],
                     "event 1: FatJetPFCands_jetIdx is -1, of 2 FatJet"),
    "constituents shorter": ("FatJetPFCands_jetIdx", 0, lambda x: x[:-1],
                             "event 0: 6 values of FatJetPFCands_pFCandsIdx and 5 of "),
    "jets shorter": ("FatJet_mass", 1, lambda x: x[:1],
                     "event 1: 1 values of FatJet_mass and 2 of FatJet_pt"),
    "candidates shorter": ("PFCands_phi", 3, lambda x: x[1:],
                           "event 3: 5 values of PFCands_phi and 6 of PFCands_pt"),
    "jets of none": ("FatJetPFCands_jetIdx", 0, lambda x: x, "is 0, of 0 FatJet (there are none)"),
    "nan": ("PFCands_eta", 1, lambda x: [*x[:7], math.nan, *x[8:]],
            "jet 2, constituent 1: eta is nan, not a number"),
    "infinite": ("PFCands_pt", 0, lambda x: [*x[:5], math.inf],
                 "jet 0, constituent 5: pT is inf, not a finite number"),
    "negative": ("PFCands_pt", 0, lambda x: [-3, *x[1:]], "jet 0 has a pT that is negative, -3.0"),
    "jet nan": ("FatJet_mass", 3, lambda x: [math.nan], "jet 3: mass is nan, not a number"),
    "jet zero": ("FatJet_pt", 3, lambda x: [0], "jet 3 has a pT of 0.0, not above 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_nothing_is_believed_unchecked(tmp_path: Path, name: str, capsys):
    branch, event, change, reason = DAMAGE[name]
    events = cms_events()
    events[branch][event] = change(events[branch][event])
    if name == "jets of none":
        for column in ("pt", "eta", "phi", "mass"):
            events[f"FatJet_{column}"][event] = []
    assert_refused(write_cms(tmp_path / "in.root", events), reason, capsys)


def test_candidates_of_no_jet_may_hold_anything(tmp_path: Path):
    events = cms_events()
    events["PFCands_pt"][2] = [math.nan] * CONSTITUENTS  # of the event without jets
    assert len(jets_of(write_cms(tmp_path / "in.root", events))) == sum(JETS)


def test_files_without_jets(tmp_path: Path, capsys):
    events = {name: [[] for _ in JETS] for name in cms_events()}
    source = write_cms(tmp_path / "in.root", events)
    assert_refused(source, f"{source}: empty, there are no jets", capsys)
    events = cms_events()
    for name in ("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx"):
        events[name] = [[] for _ in JETS]
    write_cms(source, events)
    assert_refused(source, "none of its 4 jets has constituents", capsys)


@pytest.mark.parametrize(
    ("absent", "options", "reason"),
    [
        ("PFCands_phi", [], "has no branch 'PFCands_phi'"),
        ("FatJet_mass", [], "has no branch 'FatJet_mass'"),
        ("FatJetPFCands_pFCandsIdx", [], "has no branch 'FatJetPFCands_pFCandsIdx'"),
        (None, ["--collection", "Jet"], "has no constituents of Jet; --collection: FatJet"),
        (None, ["--collection", "FatJets"], "did you mean 'FatJet'"),
        ("FatJetPFCands_jetIdx", [], "kerasgen reads: ROOT files (a tree with the branches"),
    ],
)
def test_branches_that_are_not_there(tmp_path: Path, absent, options, reason, capsys):
    events = {name: values for name, values in cms_events().items() if name != absent}
    assert_refused(write_cms(tmp_path / "in.root", events), reason, capsys, *options)


def test_a_branch_of_another_type(tmp_path: Path, capsys):
    columns = {name: np.zeros((3, 2), np.float32) for name in cms_events()}
    with uproot.recreate(tmp_path / "in.root") as file:
        columns["FatJet_pt"] = np.ones(3, np.float32)
        file.mktree("Events", columns).extend(columns)
    reason = "FatJet_pt has the type float32, expected a list of numbers per event"
    assert_refused(tmp_path / "in.root", reason, capsys)


def test_a_key_of_another_type_called_events(tmp_path: Path, capsys):
    with uproot.recreate(tmp_path / "in.root") as file:
        file["Events"] = np.histogram(np.arange(9))
    assert_refused(tmp_path / "in.root", "no tree with the branches", capsys)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_good(data):
    events = cms_events(data.draw(st.sampled_from(sorted(NAMES))))
    number = st.sampled_from([-1.0, 0.0, 1.0, 3.0, 999.0, 3e38, math.nan, math.inf])
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from(sorted(events)))
        values = events[name][data.draw(st.integers(0, len(JETS) - 1))]
        if values and data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(values) - 1))
            value = data.draw(number)
            values[place] = int(value) if name.endswith("Idx") and value < 1e9 else 0
            if not name.endswith("Idx"):
                values[place] = value
        else:
            values[:] = values[: data.draw(st.integers(0, len(values)))]
    with tempfile.TemporaryDirectory() as folder:
        source, out = write_cms(Path(folder) / "in.root", events), Path(folder) / "out.h5"
        code = run(main, [str(source), str(out)])
        assert code == (0 if out.exists() else 2)
        if code == 0:
            with PointFile(out) as file:
                check_sets(file.read(0, len(file)), file.schema, "out")


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data is not here")
def test_public_file_with_weights_and_jets_without_constituents(tmp_path: Path, capsys):
    source = tmp_path / "pfnano.root"
    source.symlink_to(SHARED / "pfnano.root")
    sets = jets_of(source, "--collection", "GenJet")
    assert len(sets) == 44
    assert "; 17 of 61 jets left out: no constituents\n" in capsys.readouterr().out
    arrays = np.load(SHARED / "pfnano_jets.npz")
    jets, constituents = arrays["ak8_jets"], arrays["ak8_constituents"]
    sets = jets_of(source, "--weights", "puppi")
    weighted = np.bincount(constituents[:, 0].astype(int), constituents[:, 1] * constituents[:, 6])
    np.testing.assert_allclose(sets.points[..., 2].sum(axis=1), weighted / jets[:, 1], rtol=1e-5)
