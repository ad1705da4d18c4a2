"""A report as Markdown, to paste into a README."""

from tinsmith_bench.facts import facts
from tinsmith_bench.report import Report
from tinsmith_bench.tables import TextTable, tables


def markdown(report: Report) -> str:
    """Writes a whole report as Markdown."""
    paragraphs = [*report.verdict, *(f"**Warning:** {warning}" for warning in report.warnings)]
    paragraphs.append("\n".join(f"- {fact}" for fact in facts(report)))
    for table in tables(report):
        paragraphs += [f"### {table.title}", markdown_table(table), table.note]
    return "\n\n".join([*paragraphs, *report.notes]) + "\n"


def markdown_table(table: TextTable) -> str:
    """Writes one table; the first column to the left, the others to the right."""
    headings = [heading.replace("\n", " ") for heading in table.headings]
    align = [":--", *["--:"] * (len(headings) - 1)]
    cells = [headings, align, *table.rows]
    return "\n".join(f"| {' | '.join(map(_escape, row))} |" for row in cells)


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")
