"""The site, from disk, as a browser shows it; what is generated; what a code host would show."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from chrome import Tab, open_tab
from docs.pages import ROOT
from markdown_it import MarkdownIt

import tinsmith
import tinsmith_runtime
from tinsmith.parsers import all_parsers, shown
from tinsmith_runtime.bundle.box_head import BoxHead
from tinsmith_runtime.bundle.schema import Manifest

pytestmark = pytest.mark.slow
# A start page, wide tables, wide code, generated tables and signatures.
LOOKED_AT = (
    "index.html",
    "project/CONTRIBUTING.html",
    "reference/plan.html",
    "reference/command-line.html",
    "reference/manifest.html",
    "reference/runtime.html",
)

PAGES = sorted(ROOT.glob("docs/**/*.md"))
WRITTEN = [page for page in PAGES if "<!-- generated: " not in page.read_text()]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_page_fits_and_can_be_read(
    name: str, width: int, scheme: str, site: Path, tab: Tab
) -> None:
    """Colours do not depend on the width: axe-core, which takes seconds, sees each once."""
    other = {"dark": "light", "light": "dark"}[scheme]
    for colours in (other, scheme):
        tab.look_as(width, 900, colours)
        tab.visit((site / name).as_uri())
        assert tab.run("document.documentElement.scrollWidth") <= width
        background = tab.run("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 300) == (colours == "dark")
    found = tab.accessibility_faults()
    assert [fault for fault in found if fault.startswith(("serious", "critical"))] == []
    assert tab.complaints == []


def test_the_search_works_from_disk(site: Path, tab: Tab) -> None:
    tab.look_as(1280, 900)
    tab.visit((site / "index.html").as_uri())
    tab.run("document.querySelector('.md-search__input').focus()")
    tab.wait("document.querySelector('.md-search-result__meta').innerText.startsWith('Type')")
    tab.call("Input.insertText", text="requantize")
    tab.press(" ")  # the search listens to keys
    tab.wait("document.querySelectorAll('.md-search-result__link').length > 0")
    href = tab.run("document.querySelector('.md-search-result__link').href")
    assert href.startswith(site.as_uri())
    assert tab.complaints == []


def test_nothing_comes_from_a_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text()
        fetched = re.findall(
            r'<(?:script|img|iframe)[^>]* src="([^"]+)"|<link[^>]* href="([^"]+)"', text
        )
        assert [one for pair in fetched for one in pair if re.match("https?:|//", one)] == [], page


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text()).replace("&lt;", "<").replace("&#39;", "'")


def test_the_command_line_is_whole(site: Path) -> None:
    text = text_of(site / "reference/command-line.html")
    for name, parser in all_parsers().items():
        assert f"tinsmith {name}" in text
        for action in shown(parser):
            for word in action.option_strings:
                assert word in text, f"tinsmith {name} {word}"


@pytest.mark.parametrize(
    "package", [tinsmith, tinsmith_runtime], ids=lambda package: package.__name__
)
def test_python_is_whole(package: ModuleType, site: Path) -> None:
    name = "python" if package is tinsmith else "runtime"
    headings = re.findall(r'<h3 id="([\w.]+)"', (site / f"reference/{name}.html").read_text())
    assert len(headings) == len(package.__all__)


@pytest.mark.parametrize("name", ["command-line", "recipe-file", "manifest", "report"])
def test_everything_generated_has_a_meaning(name: str, site: Path) -> None:
    assert "<td></td>" not in (site / f"reference/{name}.html").read_text()


def test_the_manifest_is_whole(site: Path) -> None:
    text = text_of(site / "reference/manifest.html")
    for kind in (Manifest, BoxHead):
        assert [name for name in kind.__annotations__ if name not in text] == []


class _Counted(HTMLParser):
    """How many of some tags a page has in its article."""

    TAGS = ("li", "tr", "pre", "h2", "h3")

    def __init__(self) -> None:
        super().__init__()
        self.found = dict.fromkeys(self.TAGS, 0)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in self.found:
            self.found[tag] += 1


def _count(html: str) -> dict[str, int]:
    counted = _Counted()
    counted.feed(html)
    return counted.found


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_what_a_code_host_shows(page: Path, site: Path) -> None:
    """The same lists, tables, blocks: MkDocs and code hosts read Markdown differently."""
    source = page.read_text()
    built = site / page.relative_to(ROOT / "docs").with_suffix(".html")
    built = built.with_name("index.html") if built.stem == "README" else built
    article = re.search(r"<article.*?>(.*)</article>", built.read_text(), re.DOTALL)
    assert article
    host = MarkdownIt("commonmark").enable("table").render(source)
    assert _count(article[1]) == _count(host)
