"""Writes the numbers in the README from a report: `python benchmarks/readme.py REPORT.json`."""

import sys
from pathlib import Path

from tinsmith_bench import Report, read_report
from tinsmith_bench.rendering.markdown import markdown_table
from tinsmith_bench.rendering.tables import tables
from tinsmith_runtime import TinsmithError

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- measured: make readme -->\n", "<!-- end of what was measured -->\n"


def measured(report: Report) -> str:
    """What the README says of a report: its overview, the machine, the verdict."""
    machine, dataset = report.machine, report.dataset
    features = f" ({', '.join(machine.features)})" if machine.features else ""
    where = (
        f"{machine.cores} cores of an {machine.model}{features}, {machine.os}, "
        f"Python {machine.python}, {', '.join(machine.engines.values())}, "
        f"{dataset.samples:,} samples of {dataset.name}, {report.created[:10]}."
    )
    paragraphs = [markdown_table(next(tables(report))), where, *report.warnings]
    quoted = "\n>\n".join(f"> {paragraph}" for paragraph in report.verdict)
    return "\n\n".join([*paragraphs, quoted]) + "\n"


def insert(readme: str, text: str) -> str:
    """Puts the text between the marks of a README.

    Raises:
        ValueError: the marks are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    try:
        report = read_report(Path(*sys.argv[1:]))
    except TinsmithError as error:
        sys.exit(f"error: {error}")
    README.write_text(insert(README.read_text(), measured(report)))
