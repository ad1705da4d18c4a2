"""Measures bundles: accuracy, latency, memory, size; and says plainly what int8 is worth."""

from tinsmith_bench.benchmark import Options, bench
from tinsmith_bench.report import Report, parse_report, read_report

__all__ = ["Options", "Report", "bench", "parse_report", "read_report"]
