"""The HTML report, looked at in a real browser."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from PIL import Image
from spec import Spec

from tinsmith_bench.rendering.html import html
from tinsmith_bench.report_data import Estimate, Regression, Report

pytestmark = pytest.mark.slow

SECTIONS = ["verdict", "overview", "plots", "confusion", "flips"]


@pytest.fixture
def report(make_report: Callable[..., Report], spec: type[Spec]) -> Report:
    return make_report(
        spec("native", "int8", 40, correct=9_960, size_bytes=44_000, memory=36e6),
        spec("litert", "float", 73, correct=9_964, size_bytes=133_800),
        spec("litert", "int8", 103, correct=9_960, size_bytes=41_000),
        spec("onnx", "float", 110, correct=9_964, size_bytes=132_200, memory=66e6),
        spec("onnx", "int8", 90, correct=9_967, size_bytes=41_500, memory=66e6),
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_every_section_with_nothing_cut_off_or_missing(
    report: Report, browser: Browser, tmp_path: Path, width: int
) -> None:
    page = html(report)
    seen = browser.look(page, width)
    assert seen["width"] == width
    assert seen["overflow"] == 0
    assert seen["beyond"] == []
    assert seen["sections"][: len(SECTIONS)] == SECTIONS
    assert seen["sections"][-1] == "machine"
    assert len(seen["sections"]) == len(SECTIONS) + 7
    assert seen["missing"] == []
    assert seen["pictures"] == 6  # three flips each, which two engines share
    assert len(seen["plots"]) == 5 + 3  # the float models share a confusion matrix
    assert all(100 < plot_width <= width and height > 60 for plot_width, height in seen["plots"])
    assert seen["fetched"] == []
    picture = tmp_path / "page.png"
    browser.photograph(page, width, seen["height"], picture)
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (seen["height"], width, 3)
    # The page is painted to its end, and with more than text: plots have colours.
    colours = pixels.reshape(-1, 3)[:: max(1, pixels.size // 300_000)].astype(int)
    assert (np.ptp(colours, axis=1) > 60).mean() > 0.005
    assert np.ptp(pixels[-200:].astype(int)) > 100


def test_the_page_is_one_file_and_the_same_every_time(report: Report) -> None:
    page = html(report)
    assert page == html(report)
    for pattern in (r"<script", r"<link", r'src="(?!data:)', r"@import", r"url\((?!#|.?data:)"):
        assert not re.search(pattern, page), pattern


def test_text_from_outside_is_escaped(report: Report) -> None:
    bundle = replace(report.bundles[0], file="<script>alert(1)</script>.tin")
    dataset = replace(report.dataset, labels=("<b>", "&", '"'))
    page = html(replace(report, bundles=(bundle,), dataset=dataset))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<td><b>" not in page


def test_a_report_without_labels_has_no_confusion(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    page = html(
        make_report(
            spec("litert", "float", 100, labelled=False),
            spec("litert", "int8", 50, labelled=False, correct=9_937),
        )
    )
    assert 'id="confusion"' not in page
    assert 'id="flips"' in page
    assert "Agreement with float against latency" in page


def test_a_report_of_values_shows_errors(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    report = make_report(spec("litert", "float", 100), spec("litert", "int8", 50))
    regression = Regression(Estimate(0.123, 0.12, 0.13), 0.2)
    variants = tuple(
        replace(
            one,
            accuracy=None,
            regression=regression,
            fidelity=one.fidelity and replace(one.fidelity, agreement=None, flips=()),
        )
        for one in report.variants
    )
    dataset = replace(report.dataset, targets="values", labels=())
    page = html(replace(report, variants=variants, dataset=dataset))
    assert "Mean absolute error against latency" in page
    assert 'id="confusion"' not in page
    assert 'id="flips"' not in page


def test_many_classes_are_listed_by_their_mistakes(report: Report) -> None:
    labels = tuple(f"class {i}" for i in range(40))
    page = html(replace(report, dataset=replace(report.dataset, labels=labels)))
    assert "More than 30 classes." in page
    assert "class 0 taken for class 1: 36" in page


def test_colour_pictures_and_those_of_odd_channels_are_shown(report: Report) -> None:
    one, other, *_ = report.variants
    assert one.fidelity
    flips = tuple(
        replace(one.fidelity.flips[0], shape=(2, 2, channels), pixels=pixels)
        for channels, pixels in (
            (3, "AAAAAAAAAAAAAAAA"),
            (2, "AAAAAAAAAAA="),
            (4, "A" * 21 + "A=="),
        )
    )
    changed = replace(one, fidelity=replace(one.fidelity, flips=flips))
    page = html(replace(report, variants=(changed, other)))
    assert page.count('<img src="data:image/png') == 3


def test_without_matplotlib_the_rest_works_and_what_is_missing_is_named(
    tiny: Path, tiny_samples: Path
) -> None:
    """In an interpreter of its own, since matplotlib may be loaded already in this one."""
    words = [str(tiny), "--data", str(tiny_samples), "--quick", "--rounds", "2", "--quiet"]
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['PIL'] = None\n"
        "from tinsmith_runtime.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    run = [sys.executable, "-c", code, "bench", *words]
    done = subprocess.run([*run, "--html", "r.html"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'tinsmith[html]'" in done.stderr
    assert done.stderr.count("\n") == 1
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "On this machine ship" in done.stdout
