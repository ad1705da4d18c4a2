"""What the scripts of this folder share: a measurement in a new process, a page of a table."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def in_process(script: str, *words: str) -> dict[str, Any]:
    """Runs a script in a new process; gives what it prints last, JSON, or its `error`."""
    command = [sys.executable, script, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return {"error": lines[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table_head(columns: Sequence[str], first: int = 1, last: int = 0) -> list[str]:
    """Gives the first two lines of a table in Markdown.

    Args:
        columns: their names.
        first: how many columns of words it begins with; numbers are to the right.
        last: how many it ends with.
    """
    numbers = len(columns) - first - last
    sides = [":--"] * first + ["--:"] * numbers + [":--"] * last
    return [f"| {' | '.join(cells)} |" for cells in (columns, sides)]


def write(
    path: Path, title: str, table: str, keys: int, order: Sequence[str], note: str = ""
) -> None:
    """Writes a document of a table, with what it was measured on.

    Args:
        path: the file; what it has of other models stays, if it has the same columns and was
            measured on the same.
        title: its heading.
        table: header, rule, and a row for each model, in Markdown.
        keys: how many columns tell rows apart; the first of them names the model.
        order: of the words in these columns; others come behind, in the order of the alphabet.
        note: what stands above the table, in Markdown.
    """
    from importlib.metadata import version

    from tinsmith_runtime.cpu import read_cpu

    def key(row: str) -> tuple[str, ...]:
        return tuple(cell.strip() for cell in row.split("|")[1 : 1 + keys])

    def place(row: str) -> list[tuple[int, str]]:
        return [(order.index(word) if word in order else len(order), word) for word in key(row)]

    header, rule, *rows = table.splitlines()
    before = path.read_text("utf-8").splitlines() if path.exists() else []
    engines = ("tensorflow", "ai-edge-litert", "onnxruntime")
    versions = ", ".join(f"{name} {version(name)}" for name in engines)
    where = f"Measured by `benchmarks/{Path(sys.argv[0]).name}` on {read_cpu()}, {versions}."
    same = header in before and where in before
    kept = [line for line in before if line.startswith("|")][2:] if same else []
    found = {key(row): row for row in (*kept, *rows)}
    body = "\n".join([header, rule, *sorted(found.values(), key=place)])
    parts = (f"# {title}", where, *([note] if note else []), body)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def write_between(path: Path, name: str, text: str) -> None:
    """Puts text between the marks that a document has for it.

    Raises:
        UsageError: it has none.
    """
    from tinsmith_runtime import UsageError

    begin, end = f"<!-- measured: {name} -->\n", "<!-- end of what was measured -->\n"
    document = path.read_text("utf-8") if path.exists() else ""
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(f"{path}: expected {begin.strip()} and behind it {end.strip()}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")
