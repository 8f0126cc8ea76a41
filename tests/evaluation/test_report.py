from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasgen.evaluation.key_metrics import JETS, PIXELS, SUPERPIXELS, sort_of
from kerasgen.evaluation.report import (
    COLUMNS,
    render_html,
    terminal_table,
    verdict_sentence,
)
from kerasgen.evaluation.report_rows import (
    WIDEST,
    baseline_rows,
    bias_lines,
    format_events,
    value_with_error,
)
from kerasgen.metrics.cluster_repeats import ABOUT
from kerasgen.metrics.pixel import METRICS

NAMES = [*METRICS, *ABOUT]


def entry(value: float | None, within: bool | None) -> dict:
    return {
        "value": value, "error": 0.1, "floor": 0.2, "floor_error": 0.05,
        "unit": "ADU", "n": 8, "within": within,
    }  # fmt: skip


def document() -> dict:
    found: dict = {
        "metrics": {name: entry(0.25, True) for name in NAMES},
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
        "candidate": "calibrated",
        "candidates": {"raw <1>": bad, "calibrated": found},
        "events": {"reference": 9, "raw <1>": 8, "calibrated": 8},
        "about": ABOUT,
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
    assert set(NAMES) <= set(page.text)
    judged = len(NAMES)
    assert f"outside floor, {judged - 2} of {judged - 1} metrics compatible" in text
    assert f"within floor, {judged} of {judged} metrics compatible" in text
    assert "3.2 standard deviations here" in text


def test_the_page_opens_with_verdict_figures_and_key_metrics_and_folds_the_rest() -> None:
    figures = {f"{k}.png": (f"Figure {k}.", b"\x89PNG") for k in range(6)}
    html = render_html("Title", document(), figures)
    shown, *folded = html.split("<details>")
    assert shown.index("No difference is seen") < shown.index("Figure 0.")
    assert shown.index("Figure 3.") < shown.index("Key metrics")
    assert "Figure 4." not in shown
    assert "2 more figures" in folded[2]
    assert "Figure 5." in folded[2]
    for name, key in PIXELS.metrics.items():
        assert key.title in shown
        assert (name in NAMES) == (name in folded[0])
    assert "not measured: --networks" in shown
    assert [part.split("</summary>")[0].split("<summary>")[1] for part in folded] == [
        f"All {len(NAMES)} metrics, with their definitions",
        "Means of both samples, and from how many events on a bias counts",
        "2 more figures",
        "Data and versions",
        "Configuration",
    ]


def test_jets_have_w1_as_the_library_beside_the_metrics() -> None:
    metric = {"value": 7e-4, "error": 2e-4, "floor": 5e-4, "floor_error": None}
    jets = document() | {"jetnet": {"batches": 5, "batch": 50_000, "metrics": {"w1m": metric}}}
    *_, title, head, row = terminal_table(jets).splitlines()
    assert title == "W1 of 5 batches of 50 000 jets drawn with replacement, as JetNet's"
    assert head.split() == ["metric", "value", "real", "against", "real"]
    assert row.split() == ["w1m", "(7.0", "±", "2.0)e-4", "0.0005"]
    page = render_html("jets", jets, {})
    assert f"<summary>{title.replace(chr(39), '&#39;')}</summary>" in page
    assert "(7.0 ± 2.0)e-4" in page
    assert "with replacement" not in render_html("hits", document(), {})


def test_the_terminal_has_the_verdict_and_the_key_metrics_of_every_candidate() -> None:
    verdict, *lines = terminal_table(document()).splitlines()
    assert verdict.startswith("No difference is seen between 8 generated and 9 real events")
    lines = lines[1:]  # its second line
    assert len(lines) == 2 * (2 + len(PIXELS.metrics))
    assert lines[0] == (
        f"raw <1>: outside floor, {len(NAMES) - 2} of {len(NAMES) - 1} metrics compatible with "
        "real against real (3 sigma)"
    )
    line = next(x for x in lines if "charge spectrum" in x)
    assert line.split("  ")[1] == "charge spectrum (W1), ADU"
    assert line.split()[4:] == ["-", "0.200", "±", "0.050", "outside"]
    assert [x.split("  ")[-1] for x in lines if "not measured" in x] == [
        "not measured", "not measured: --networks", "not measured: --tracking",
    ] * 2  # fmt: skip
    assert len({x.index(word) for x in lines for word in ("within", "outside")
                if word in x and x.startswith("  ")}) == 1  # fmt: skip


def judged(value: float, within: bool | None) -> dict:
    return entry(value, within) | {"error": 0.1, "floor": 0.0, "floor_error": 0.0}


@pytest.mark.parametrize(
    ("metrics", "verdict", "sentence"),
    [
        (
            {"adu_w1": judged(1.0, False), "cluster_size_v": judged(2.0, False),
             "profile_u": judged(9.0, False), "adu_mean": judged(0.1, True)},
            "outside floor",
            "Generated events differ from real ones: 3 of 4 metrics exceed the spread between "
            "parts of the real events; the key metric farthest beyond it is cluster length along "
            "v, 2.00 ± 0.10 pixels.",
        ),
        (
            {"profile_u": judged(9.0, False), "adu_mean": judged(0.1, True)},
            "outside floor",
            "Generated events differ from real ones: 1 of 2 metrics exceeds the spread between "
            "parts of the real events, no key metric among them; farthest beyond it is profile u, "
            "9.00 ± 0.10 ADU.",
        ),
        (
            {"w1m": judged(0.1, True), "cov": judged(0.1, True)},
            "within floor",
            "No difference is seen between 8 generated and 9 real jets: they agree within the "
            "spread between parts of the real jets.",
        ),
        (
            {"frechet": judged(0.4, False), "misclassified": judged(0.1, True)},
            "within floor",
            "No difference is seen between 8 generated and 9 real superpixel images: they agree "
            "within the spread between parts of the real superpixel images; 1 of 2 metrics exceeds "
            "this spread, as is expected by chance.",
        ),
        (
            {"w1m": judged(0.5, False), "cov": judged(-0.9, False)},
            "outside floor",
            "Generated jets differ from real ones: 2 of 2 metrics exceed the spread between parts "
            "of the real jets; the key metric farthest beyond it is real jets covered (COV), "
            "-90 ± 10 %.",
        ),
    ],
)  # fmt: skip
def test_the_verdict_is_one_sentence(metrics: dict, verdict: str, sentence: str) -> None:
    found = {"metrics": metrics, "verdict": verdict}
    events = {"reference": 9, "made": 8}
    text = verdict_sentence({"candidate": "made", "candidates": {"made": found}, "events": events})
    assert text == sentence


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.sampled_from([PIXELS, JETS, SUPERPIXELS]),
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.none() | st.booleans()), min_size=10),
    st.lists(st.text(max_size=300), min_size=1, max_size=3, unique=True),
    st.sampled_from(["within floor", "outside floor"]),
)
def test_no_line_on_the_terminal_is_wider_than_100_columns(sort, numbers, names, verdict) -> None:
    metrics = {
        name: {"value": v, "error": e, "floor": f, "floor_error": fe, "unit": "", "within": w}
        for name, (v, e, f, fe, w) in zip(sort.metrics, numbers, strict=False)
    }
    found = {"metrics": metrics, "verdict": verdict}
    text = terminal_table(
        {
            "metrics": metrics,
            "candidate": names[-1],
            "candidates": dict.fromkeys(names, found),
            "events": {"reference": 10**30} | dict.fromkeys(names, 10**30),
        }
    )
    assert max(map(len, text.splitlines())) <= COLUMNS == 100


@given(NUMBERS, NUMBERS)
def test_numbers_are_short(value: float | None, error: float | None) -> None:
    assert len(value_with_error(value, error)) <= WIDEST


def test_data_are_told_by_their_metrics() -> None:
    for sort in (PIXELS, JETS, SUPERPIXELS):
        assert sort_of(sort.metrics) is sort
        assert len(sort.metrics) <= 11
    assert sort_of(["w1p", "w1_total", "cov", "mmd"]) is SUPERPIXELS  # of one class
    assert set(PIXELS.metrics) - {"line_pairs", "auc_images", "tracking_d0"} <= set(NAMES)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.23456, 0.0456, "1.235 ± 0.046"),
        (123.4, 12.0, "123 ± 12"),
        (0.0012345, 0.000041, "(1.234 ± 0.041)e-3"),
        (0.00001, 0.00021, "(0.1 ± 2.1)e-4"),
        (0.99374, 0.00065, "0.99374 ± 0.00065"),
        (0.0, 0.0, "0"),
        (2.67e67, 1.2e66, "(2.67 ± 0.12)e67"),
        (1234567.0, 12.0, "(1.234567 ± 0.000012)e6"),
        (123456.7, 1.2e-6, "1.2346e+05 ± 1e-06"),
        (1e308, float("inf"), "1e+308 ± inf"),
        (0.0, 5e-324, "0 ± 5e-324"),
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
        "events": 1000, "bytes": 2e8, "bytes_per_event": 2e5, "models": {"calibrated": 5e5}
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
        ({"models": {}}, "at most 100 000"),  # the file of an unknown model
        ({"models": {"calibrated": 5e5}}, "100 000"),
        ({"models": {"calibrated": 5e5}, "resampled": ""}, "100 000"),  # of an earlier version
    ],
)
def test_only_of_a_known_model_all_events_are_independent(known: dict, text: str) -> None:
    stored = {"events": 1000, "bytes": 2e8, "bytes_per_event": 2e5} | known
    found = baseline_rows(document() | {"baseline": stored, "candidate": "calibrated"})
    assert found is not None
    assert found["rows"][4] == ("independent events in 100 000", "990", text)


def test_remarks_stand_below_the_heading() -> None:
    assert "Candidate and" not in render_html("Title", document(), {})
    remark = "Candidate and reference are the same events: <a>.h5."
    html = render_html("Title", document() | {"remarks": [remark]}, {})
    line = html[html.index("<h1>Title</h1>") :].splitlines()[1]
    assert "Candidate and reference are the same events: &lt;a&gt;.h5." in line
