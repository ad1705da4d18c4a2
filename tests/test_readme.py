"""The README's numbers come from a report, its links lead somewhere; tests/docs runs it."""

import re
from pathlib import Path

import pytest

from tinsmith_bench import read_report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_make_does_what_the_readme_says() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "docs"):
        assert f"make {target}" in README
        assert f"\n{target}: " in makefile


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_numbers_come_from_the_report_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readme

    assert "make readme" in README
    assert "docs/mnist.json" in README
    report = read_report(ROOT / "docs/mnist.json")
    assert readme.insert(README, readme.measured(report)) == README
    with pytest.raises(ValueError, match="expected <!-- measured"):
        readme.insert("no marks", "text")
