"""The page of a search: in a real browser, of searches of every size, with hostile text."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from browser import Browser, find_browser
from chrome import Tab, open_tab
from trials import GOALS, answer, demonstrate

from tinsmith_search.goals import Goals, parse_goals
from tinsmith_search.page import search_page
from tinsmith_search.report import SearchReport, make_report
from tinsmith_search.rows import Row, State
from tinsmith_search.winners import front

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_on_a_board(reason="there is no browser there"),
]
HOSTILE = "<script>alert(1)</script>\u202e\x1b[2J\"'><img src=x onerror=alert(1)>$\\frac{a"
SECTIONS = [
    "verdict",
    "front",
    "parameters",
    "paired",
    "importance",
    "history",
    "reasons",
    "trials",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return find_browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_tab(tmp_path_factory.mktemp("tab")) as tab:
        yield tab


def made(trials: int, goals: Goals = GOALS, tested: bool = True) -> SearchReport:
    study, rows = demonstrate(trials, goals)
    answers = answer(front(rows, goals)) if tested else {}
    return make_report(
        study,
        rows,
        goals,
        answers,
        command="tinsmith search space.toml --trials 60",
        data="digits",
        validation_samples=5_000,
    )


@pytest.fixture(scope="module")
def report() -> SearchReport:
    return made(60)


@pytest.fixture(scope="module")
def page(report: SearchReport) -> str:
    return search_page(report)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_every_section_with_nothing_cut_off(
    page: str, browser: Browser, width: int
) -> None:
    seen = browser.look(page, width)
    assert seen["width"] == width
    assert seen["overflow"] == 0
    assert seen["beyond"] == []
    assert seen["sections"] == SECTIONS
    assert len(seen["plots"]) == 2 + 3 + 2  # the front, what matters, the history
    assert all(100 < plot_width <= width and height > 60 for plot_width, height in seen["plots"])
    assert seen["fetched"] == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_everybody_can_read_it(tab: Tab, tmp_path: Path, width: int, scheme: str) -> None:
    path = tmp_path / "search.html"
    path.write_text(search_page(made(25)))
    tab.look_as(width, 900, scheme)
    tab.call("Page.navigate", url=path.as_uri())
    tab.wait("document.readyState === 'complete' && !!document.querySelector('#trials')")
    tab.run("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    faults = tab.accessibility_faults()
    assert [fault for fault in faults if not fault.startswith("minor")] == []
    assert tab.complaints == []


def test_it_is_one_file_without_scripts(page: str) -> None:
    for pattern in (r"<script", r"<link", r'src="(?!data:)', r"@import", r"url\((?!#|.?data:)"):
        assert not re.search(pattern, page), pattern


def test_it_says_what_was_found_and_how(report: SearchReport, page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page))
    assert report.why in text
    assert "looked at after the search, for the" in text
    assert "tinsmith search space.toml --trials 60" in text
    assert "Raspberry Pi 4 Model B, Cortex-A72" in text
    assert "the training ran out of memory: 512 MB" in text
    (winner,) = re.findall(r"<tr><td>(\d+)</td>(?:(?!<tr>).)*winner\">winner", page)
    assert int(winner) == report.winner
    for row in report.trials:
        assert f"<tr><td>{row.number}</td>" in page


def hostile(row: Row) -> Row:
    return replace(
        row,
        parameters={HOSTILE: HOSTILE, **row.parameters},
        values={**row.values, HOSTILE: 1.0},
        reason=HOSTILE * 20 if row.reason else None,
        worker=HOSTILE,
        stage=HOSTILE,
        measured_on=row.measured_on and HOSTILE,
        bundle=HOSTILE,
    )


def test_text_of_strangers_is_text(browser: Browser) -> None:
    study, rows = demonstrate(30)
    odd = [hostile(row) for row in rows]
    answers = answer(front(odd, GOALS))
    found = make_report(study, odd, GOALS, answers, command=HOSTILE, data=HOSTILE, notes=[HOSTILE])
    importance = tuple(
        replace(one, shares={HOSTILE: 0.9, **one.shares}) for one in found.importance
    )
    page = search_page(replace(found, study=HOSTILE, importance=importance))
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    seen = browser.look(page, 390)
    assert (seen["overflow"], seen["beyond"], seen["pictures"]) == (0, [], 0)


@pytest.mark.parametrize("trials", [0, 1, 1_000])
def test_searches_of_every_size_have_a_page(browser: Browser, trials: int) -> None:
    found = made(trials, tested=trials < 1_000)
    page = search_page(found)
    seen = browser.look(page, 390)
    assert (seen["overflow"], seen["beyond"]) == (0, [])
    assert {"verdict", "front", "importance", "trials"} <= set(seen["sections"])
    if trials < 20:
        assert "it takes 20 trials whose accuracy is known" in page
    if trials == 1_000:
        # The tables scroll by themselves: what stands below them is not pages away.
        assert seen["height"] < 12_000
        assert len(page) < 2_000_000


def test_a_search_of_failures_says_why() -> None:
    study, rows = demonstrate(30)
    states = [state for state in get_args(State) if state not in ("done", "running")]
    failed = [
        Row(
            row.number,
            states[row.number % 3],
            "check",
            row.parameters,
            reason=f"reason {row.number % 2}",
        )
        for row in rows
    ]
    found = make_report(study, failed, GOALS, {}, command="", data="digits")
    page = search_page(found)
    assert "No trial is done and keeps to every limit." in page
    assert 'id="history"' not in page
    assert re.search(r'<td>5</td><td class="words">infeasible</td><td class="words">reason 0', page)


def test_one_objective_and_an_untested_front() -> None:
    found = made(40, parse_goals(["maximize accuracy", "size_bytes <= 60 kB"]), tested=False)
    page = search_page(found)
    assert "accuracy (%) against size_bytes" in page
    assert "best accuracy (%) so far over trials" in page
    assert "not looked at" in page
    assert 'id="paired"' not in page


def test_boards_have_plots_of_their_own() -> None:
    study, rows = demonstrate(40)
    moved = [
        replace(row, measured_on=row.measured_on and f"board {row.number % 2}") for row in rows
    ]
    page = search_page(make_report(study, moved, GOALS, {}, command="", data="digits"))
    for board in ("board 0", "board 1"):
        assert f"<h3>accuracy (%) against latency_us_p50 on pi4 on {board}</h3>" in page
    assert "never compared" in page


def test_a_front_of_all_sizes_is_seen_beside_networks_that_learned_nothing() -> None:
    study, rows = demonstrate(40)
    odd = [
        replace(row, values={**row.values, "size_bytes": 10.0 ** (row.number % 7), "accuracy": 0.1})
        if row.state != "done"
        else replace(
            row, values={**row.values, "size_bytes": row.values["size_bytes"] ** 1.8 / 1e6}
        )
        for row in rows
    ]
    goals = parse_goals(["maximize accuracy", "minimize size_bytes"])
    page = search_page(make_report(study, odd, goals, {}, command="", data="digits"))
    (plot,) = re.findall(
        r'aria-label="accuracy \(%\) against size_bytes">(.*?)</svg>', page, re.DOTALL
    )
    marks = {float(text) for text in re.findall(r">(\d+(?:\.\d+)?)</text>", plot)}
    assert {1.0, 10.0} <= marks  # the sizes' axis is logarithmic, accuracies begin near the front
    assert not marks & {20.0, 40.0, 60.0, 80.0}
