"""A report as Markdown, to paste into a README.

Names, labels and warnings may come from a stranger's file or another machine: they are escaped, so
that they are text and neither HTML nor a link, a picture or a table's border.
"""

import re
from html import escape

from tinsmith_bench.rendering.facts import facts
from tinsmith_bench.rendering.tables import tables
from tinsmith_bench.report_data import Report
from tinsmith_report.tables import TextTable
from tinsmith_runtime.errors import printable

# What Markdown takes for more than itself: anywhere, as the end of a link's or a definition's text,
# or where it is no part of a word. `$` is GitHub's, for formulas.
_SPECIAL = re.compile(r"[\\`*~|$]|\](?=[(\[:])|(?<!\w)_|_(?!\w)")
# At the beginning of a line: headings, lists, quotes, rules, indented code.
_BEGINNING = re.compile(r"\s*([-+#=]|\d+[.)])")
# GitHub makes links of bare addresses too.
_ADDRESS = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)


def markdown(report: Report) -> str:
    """Writes a whole report as Markdown."""
    warnings = (f"**Warning:** {_line(warning)}" for warning in report.warnings)
    paragraphs = [*map(_line, report.verdict), *warnings]
    paragraphs.append("\n".join(f"- {_line(fact)}" for fact in facts(report)))
    for table in tables(report):
        paragraphs += [f"### {_line(table.title)}", markdown_table(table), _line(table.note)]
    return "\n\n".join([*paragraphs, *map(_line, report.notes)]) + "\n"


def markdown_table(table: TextTable) -> str:
    """Writes one table; the first column to the left, the others to the right."""
    headings = [_text(heading.replace("\n", " ")) for heading in table.headings]
    align = [":--", *["--:"] * (len(headings) - 1)]
    cells = [headings, align, *(map(_text, row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _line(text: str) -> str:
    """Text that may begin a line."""
    beginning = _BEGINNING.match(text)
    if beginning is None:
        return _text(text)
    mark = beginning[1]
    return f"{mark[:-1]}\\{mark[-1]}{_text(text[beginning.end() :])}"


def _text(text: str) -> str:
    text = _SPECIAL.sub(r"\\\g<0>", printable(text.strip()))
    return _ADDRESS.sub(lambda found: f"&#{ord(found[0])};", escape(text, quote=False))
