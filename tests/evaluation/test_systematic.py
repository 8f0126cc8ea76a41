"""The systematic uncertainty of tracks under generated background."""

from __future__ import annotations

from typing import Any

from kerasgen.evaluation.systematic import systematic, systematic_text


def quantity(real: float, made: float, error: float) -> dict[str, Any]:
    return {
        "reference": real, "candidate": made, "reference_error": error, "candidate_error": error,
        "difference_error": error,
    }  # fmt: skip


def document() -> dict[str, Any]:
    return {
        "quantities": {
            "hit_efficiency": quantity(0.9812, 0.9813, 0.0004),
            "wrong_hit_rate": quantity(0.0123, 0.0103, 0.0005),
            "ghost_seeds": quantity(50000, 49000, 200),
            "d0_resolution": quantity(40.0, 41.5, 0.5),
            "z0_resolution": quantity(50.0, 50.0, 0.25),
        },
        "tracking": {"cases": {"real background": {"tracks": 100000}}},
        "events": {"model": 400}, "candidate": "model",
    }  # fmt: skip


def test_the_larger_of_difference_and_error_is_the_uncertainty() -> None:
    found = systematic(document())
    assert found is not None
    uncertainty = {row[0]: row[-1] for row in found["rows"]}
    assert uncertainty == {
        "pixel hits found": "0.0004",
        "wrong among attached hits": "0.002",
        "ghost seeds per event": "1000",
        "d0 resolution (um)": "1.5 um",
        "z0 resolution (um)": "0.25 um",
    }
    sentence = found["sentence"]
    assert "(400 events each, 100000 tracks)" in sentence
    assert "the d0 resolution by +1.50 ± 0.50 um" in sentence
    assert "2 % for the number of ghost track seeds" in sentence
    assert "1.5 um for the d0 resolution and 0.25 um for the z0 resolution" in sentence
    text = systematic_text(found).splitlines()
    assert text[0].split() == ["tracks", "simulated", "generated", "difference", "systematic"]
    assert text[-1] == sentence
    assert len(text) == 7


def test_without_tracks_there_is_none() -> None:
    assert systematic({"quantities": {}}) is None
    undefined = document()
    undefined["quantities"]["d0_resolution"]["candidate"] = None
    del undefined["quantities"]["ghost_seeds"]  # of a detector whose sensors have no places
    found = systematic(undefined)
    assert found is not None
    assert [row[0] for row in found["rows"]][-1] == "z0 resolution (um)"
    assert len(found["rows"]) == 3
