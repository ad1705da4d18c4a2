"""`python -m tinsmith_runtime` is the `tinsmith` command."""

from tinsmith_runtime.cli.command import entry_point

entry_point()
