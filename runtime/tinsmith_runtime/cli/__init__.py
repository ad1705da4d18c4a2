"""The command `tinsmith`."""

from tinsmith_runtime.cli.command import entry_point, main

__all__ = ["entry_point", "main"]
