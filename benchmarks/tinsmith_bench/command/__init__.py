"""The sub-commands `tinsmith bench` and `tinsmith compare`."""

from tinsmith_bench.command.arguments import configure_bench, configure_compare

__all__ = ["configure_bench", "configure_compare"]
