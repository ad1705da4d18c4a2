"""Names, labels and warnings that would steer a terminal, a browser or a reader of Markdown."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from printed import printed as written
from rich.console import Console
from spec import Spec

from tinsmith_bench import parse_report
from tinsmith_bench.gates.compare import moves, moves_table
from tinsmith_bench.rendering.html import html
from tinsmith_bench.rendering.markdown import markdown, markdown_table
from tinsmith_bench.rendering.terminal import print_report, print_table
from tinsmith_bench.report_data import Closeness, Failure, Operator, Profile, Report
from tinsmith_report.terminal import WIDTH, Terminal
from tinsmith_runtime.errors import printable

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "two\nlines\r\n# three",
    "\u202egnp.exe",
    "\ud800",
    "[red]danger[/red]",
    "[link=http://evil.example]click[/link]",
    ":warning: :red_heart:",
    "<script>alert(1)</script>",
    "</script></style></title><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)",
    "a|b||c",
    "`code` **bold** _slanted_ ~~gone~~",
    "[x](javascript:alert(1))",
    "![](http://evil.example/x.png)",
    "[x]: http://evil.example",
    "http://evil.example www.evil.example",
    "&lt;b&gt; &#60;",
    "\\[x\\]\\(y\\)",
    "$\\frac{1}{$ $x_$ $",
    "_hidden",
    "# heading",
    "- item",
    "1. item",
    "{0} %s {{",
)


def spoil(report: Report, text: str) -> Report:
    """The report with this text wherever a stranger may put some."""
    variants = tuple(
        replace(
            one,
            name=f"{text}: {number}",
            engine_version=text,
            file=text,
            accuracy=one.accuracy
            and replace(
                one.accuracy,
                classes=tuple(replace(each, label=text) for each in one.accuracy.classes),
            ),
            fidelity=one.fidelity
            and replace(one.fidelity, outputs=(Closeness(text, 0.1, None, 1.0),)),
        )
        for number, one in enumerate(report.variants)
    )
    machine = replace(
        report.machine,
        model=text,
        cpu=text,
        governor=text,
        os=text,
        kernel=text,
        python=text,
        architecture=text,
        features=(text,),
        engines={"litert": text},
        before=replace(report.machine.before, power=text),
        after=replace(report.machine.after, power=text, throttled=(text,)),
    )
    return replace(
        report,
        tinsmith=text,
        created=text,
        bundles=tuple(replace(one, file=text, model=text) for one in report.bundles),
        machine=machine,
        dataset=replace(report.dataset, name=text, labels=(text,) * len(report.dataset.labels)),
        method=replace(report.method, clock=text),
        variants=variants,
        warnings=(text,),
        notes=(text,),
        verdict=(text, f"{text}: {text}"),
        profiles=(
            Profile(variants[0].id, 7, (Operator(text, text, "integer", 1.0, 1.0),)),
            Profile(variants[1].id, 7, ()),
        ),
        failures=(Failure(text, text),),
    )


@pytest.fixture(params=HOSTILE, ids=ascii)
def text(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    return text


@pytest.fixture
def report(make_report: Callable[..., Report], spec: type[Spec], text: str) -> Report:
    pair = spec("litert", "float", 125, correct=9_945), spec("litert", "int8", 192, correct=9_940)
    return spoil(make_report(*pair), text)


def require_harmless(seen: str) -> None:
    assert all(line.isprintable() for line in seen.split("\n")), ascii(seen)


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def console(request: pytest.FixtureRequest) -> Console:
    return Console(file=io.StringIO(), width=WIDTH, force_terminal=request.param)


def test_a_terminal_shows_text_and_obeys_none(report: Report, console: Console, text: str) -> None:
    terminal = Terminal(console, printable)
    print_report(report, terminal)
    found, notes = moves(report, report)
    print_table(moves_table([replace(move, variant=text) for move in found]), terminal)
    terminal.paragraphs([*notes, f"Failed: {text}"])
    seen = re.sub(r"\x1b\[[01]m", "", written(console))  # the headings' own bold
    require_harmless(seen)
    squeezed = "".join(seen.split())
    assert squeezed.count("".join(printable(text).split())) > 5


def test_markdown_holds_no_html_and_no_link(report: Report, text: str) -> None:
    page = markdown(report)
    require_harmless(page)
    assert not re.search(r"<[a-z/!?]", page, re.IGNORECASE)
    assert not re.search(r"(?<!\\)\][(\[:]", page)
    assert not re.search(r"(?<!\\)[`~$]", page)
    assert "://" not in page
    assert "www." not in page
    tables = [block for block in page.split("\n\n") if block.startswith("| ")]
    for block in tables:
        borders = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.split("\n")}
        assert len(borders) == 1, block
    # Whatever a text begins with, it begins no heading and no list but those of the report.
    beginnings = [line[:2] for line in page.split("\n") if line]
    assert beginnings.count("- ") == 5
    assert not re.search(r"^(#(?!## )|[+=]|\d+[.)])", page, re.MULTILINE)
    assert markdown_table(moves_table(moves(report, report)[0])).count("\n") > 3


class Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name) for name, _ in attrs}
        links = [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


# Drawing plots takes a second: several at once.
@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["".join(HOSTILE), "_hidden $\\frac{1}{$ $x_$ $"], indirect=True, ids=["all", "math"]
)
def test_html_holds_the_tags_of_the_report_alone(
    report: Report, make_report: Callable[..., Report], spec: type[Spec], text: str
) -> None:
    pair = spec("litert", "float", 125, correct=9_945), spec("litert", "int8", 192)
    ordinary = Page(html(spoil(make_report(*pair), "plain")))
    page = html(report)
    assert "\x1b" not in page
    assert "\u202e" not in page
    found = Page(page)
    assert found.tags == ordinary.tags
    assert found.attributes <= ordinary.attributes
    assert "script" not in found.tags
    words = "".join("".join(found.text).split())
    assert words.count("".join(printable(text).split())) > 20
    # In the legends and on the axes of the plots, too.
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    first = "".join("".join(Page(plots[1]).text).split())
    assert "".join(printable(text)[:30].split()) in first  # shortened


def test_json_stays_json_and_control_characters_are_refused(report: Report, text: str) -> None:
    written = report.to_json()
    assert written.isascii()
    assert json.loads(written)["warnings"] == [text]
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text):
        with pytest.raises(Exception, match="text without control characters"):
            parse_report(written)
    else:
        assert parse_report(written) == report
