"""Reports that are read: a stranger's may hold anything."""

from pathlib import Path

from tinsmith_bench.report_data.consistency import require_consistent
from tinsmith_bench.report_data.report import SCHEMA_VERSION, Report
from tinsmith_bench.strict import read_strict
from tinsmith_runtime import InputError, UsageError
from tinsmith_runtime.files import read_regular
from tinsmith_runtime.record import parse_record

_MAX_REPORT_BYTES = 1 << 24  # one of three models on a board takes 62 kB


def parse_report(text: str | bytes, source: str = "report", *, is_judged: bool = True) -> Report:
    """Reads what `Report.to_json` wrote.

    Args:
        text: the JSON.
        source: what to call it in an error.
        is_judged: whether it has a verdict; that of a board has none yet.

    Raises:
        InputError: it is not JSON, of another version, a field is missing or of a wrong kind, or
            its numbers contradict each other; the message gives each field's path.
    """
    try:
        tree = read_strict(text)
        if not isinstance(tree, dict) or "schema_version" not in tree:
            raise ValueError("expected a report of `tinsmith bench --json`")
        version = tree.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version: expected {SCHEMA_VERSION}, got {version!r:.20}: measure again"
            )
        report = parse_record(Report, tree)
        require_consistent(report, is_judged)
        return report
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error


def read_report(path: Path) -> Report:
    """Reads a report from a file; see `parse_report`.

    Raises:
        UsageError: the file cannot be read.
        InputError: it is no report.
    """
    try:
        return parse_report(read_regular(path, _MAX_REPORT_BYTES), str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
