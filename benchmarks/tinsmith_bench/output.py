"""Where reports go: checked before the minute that it takes to make one, written whole."""

import os
from contextlib import suppress
from pathlib import Path

from tinsmith_runtime import UsageError


def check_writable(path: Path) -> None:
    """Checks that a report can go to `path`, before the minute that it takes to make it.

    Raises:
        UsageError: the folder is missing, or `path` is one or no name for a file.
    """
    try:
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
        if path.is_dir():
            raise UsageError(f"{path}: expected a file, got a folder")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Writes beside `path` and renames into it, so that nobody reads half a report.

    Raises:
        UsageError: the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
