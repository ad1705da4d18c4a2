"""Where reports go: checked before the minute that it takes to make one, written whole."""

from pathlib import Path

from tinsmith_runtime import UsageError
from tinsmith_runtime.files import require_writable, write_whole


def check_writable(path: Path) -> None:
    """Checks that a report can go to `path`, before the minute that it takes to make it.

    Raises:
        UsageError: the folder is missing, `path` is one or no file, or the system refuses.
    """
    try:
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
        if path.is_dir():
            raise UsageError(f"{path}: expected a file, got a folder")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    require_writable(path)


def write_text(path: Path, text: str) -> None:
    """Writes a report whole, so that nobody reads half of one.

    Raises:
        TinsmithError: the file cannot be written.
    """
    write_whole(path, text.encode())
