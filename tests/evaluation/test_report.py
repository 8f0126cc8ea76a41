from html.parser import HTMLParser

import pytest

from kerasgen.evaluation.report import render_html, terminal_table
from kerasgen.evaluation.report_rows import (
    baseline_rows,
    bias_lines,
    format_events,
    value_with_error,
)
from kerasgen.metrics.pixel import METRICS


def entry(value: float | None, within: bool | None) -> dict:
    return {
        "value": value, "error": 0.1, "floor": 0.2, "floor_error": 0.05,
        "unit": "ADU", "n": 8, "within": within,
    }  # fmt: skip


def document() -> dict:
    found: dict = {
        "metrics": {name: entry(0.25, True) for name in METRICS},
        "verdict": "within floor",
        "outside": [],
        "sigmas": 3.25,
        "quantities": {"adu_mean": {"reference": 20.0, "candidate": 22.0, "unit": "ADU"}},
    }
    bad = found | {
        "metrics": found["metrics"] | {"adu_w1": entry(None, False), "refired": entry(0.0, None)},
        "verdict": "outside floor",
        "outside": ["adu_w1"],
    }
    return found | {
        "candidates": {"raw <1>": bad, "calibrated": found},
        "events": {"reference": 9, "raw <1>": 8, "calibrated": 8},
        "config": {"steps": 5},
        "data": {"a.h5": "00ff"},
        "versions": {"numpy": "2"},
    }


class Page(HTMLParser):
    """Open tags, links out of the page, and the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def test_the_page_is_whole_and_needs_no_other_file() -> None:
    html = render_html("Title & more", document(), {"a.png": ("A figure.", b"\x89PNG")})
    page = Page()
    page.feed(html)
    assert page.open == []
    assert page.links == ["data:image/png;base64,iVBORw=="]
    assert "url(" not in html
    assert "http" not in html
    text = " ".join(page.text)
    for words in ("Title & more", "raw <1>", "calibrated", "00ff", "+10.0 %", "no floor"):
        assert words in text
    assert set(METRICS) <= set(page.text)
    judged = len(METRICS)
    assert f"outside floor, {judged - 2} of {judged - 1} metrics compatible" in text
    assert f"within floor, {judged} of {judged} metrics compatible" in text
    assert "3.2 standard deviations here" in text


def test_the_terminal_table_has_a_line_per_metric_and_candidate() -> None:
    lines = terminal_table(document()).splitlines()
    assert len(lines) == 2 * (len(METRICS) + 2)
    assert lines[2].split() == ["adu_w1", "-", "0.200", "±", "0.050", "outside", "ADU"]
    rows = [line for line in lines if line.startswith("  ")]
    assert {line.index("outside") for line in rows if "outside" in line} <= {
        line.index("within") for line in rows if "within" in line
    }


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.23456, 0.0456, "1.235 ± 0.046"),
        (123.4, 12.0, "123 ± 12"),
        (0.0012345, 0.000041, "(1.234 ± 0.041)e-3"),
        (0.00001, 0.00021, "(0.1 ± 2.1)e-4"),
        (0.99374, 0.00065, "0.99374 ± 0.00065"),
        (0.0, 0.0, "0"),
        (0.5, None, "0.5"),
        (None, 0.1, "-"),
    ],
)
def test_numbers_show_two_digits_of_their_error(value, error, text: str) -> None:
    assert value_with_error(value, error) == text


def biased(events: float | None, seen: bool | None) -> dict:
    return {"reference": 1.0, "candidate": 2.0, "unit": "", "events": events, "seen": seen}


def test_the_first_bias_that_counts_is_named() -> None:
    found = {
        "quantities": {
            "adu_mean": biased(31_234, True),
            "cluster_charge": biased(123.4, True),
            "jaccard_distance": biased(2, True),  # describes the sample, is no measurement
            "d0_resolution": biased(5555, False),
            "z0_resolution": biased(7777, False),
            "hit_efficiency": biased(None, None),
        }
    }
    assert bias_lines(found) == [
        "pixels: from 120 events on (cluster charge 120, adu mean 31 000)",
        "tracks: no bias seen, excluded up to 5 600 events (95 %)",
    ]
    few = {"quantities": {"d0_resolution": biased(1.2, False)}}
    assert bias_lines(few) == ["tracks: no bias seen, none excluded"]
    assert bias_lines({"quantities": {"adu_mean": {"reference": 1.0, "candidate": 1.0}}}) == []


@pytest.mark.parametrize(
    ("n", "text"), [(0.2, "1"), (7.4, "7"), (99.6, "100"), (1e7, "10 000 000")]
)
def test_numbers_of_events_have_two_digits(n: float, text: str) -> None:
    assert format_events(n) == text


def test_a_bootstrap_sample_has_no_more_statistics_than_the_stored_events() -> None:
    stored = {
        "events": 1000, "bytes": 2e8, "bytes_per_event": 2e5, "models": {"calibrated": 5e5},
        "resampled": "",
    }  # fmt: skip
    found = baseline_rows(document() | {"baseline": stored, "candidate": "calibrated"})
    assert found is not None
    rows = {name: cells for name, *cells in found["rows"]}
    assert rows["stored"] == ["1000 events, 200 MB", "0.5 MB"]
    assert rows["independent events in 1 000"] == ["500", "1 000"]
    assert rows["independent events in 10 000 000"] == ["1 000", "10 000 000"]
    assert baseline_rows(document()) is None


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({}, "at most 100 000"),  # recorded by an earlier version
        ({"resampled": None}, "at most 100 000"),  # the file of an unknown model
        ({"resampled": ""}, "100 000"),
        ({"resampled": "whose clusters are drawn"}, "100 000, whose clusters are drawn"),
    ],
)
def test_a_model_says_what_it_draws_again(known: dict, text: str) -> None:
    stored = {"events": 1000, "bytes": 2e8, "bytes_per_event": 2e5, "models": {}} | known
    found = baseline_rows(document() | {"baseline": stored, "candidate": "calibrated"})
    assert found is not None
    assert found["rows"][4] == ("independent events in 100 000", "990", text)


def test_remarks_stand_below_the_heading() -> None:
    assert "Candidate and" not in render_html("Title", document(), {})
    remark = "Candidate and reference are the same events: <a>.h5."
    html = render_html("Title", document() | {"remarks": [remark]}, {})
    line = html[html.index("<h1>Title</h1>") :].splitlines()[1]
    assert "Candidate and reference are the same events: &lt;a&gt;.h5." in line
