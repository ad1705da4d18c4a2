"""What a console printed."""

import io

from rich.console import Console


def printed(console: Console) -> str:
    """What was printed to a console whose file is an `io.StringIO`."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
