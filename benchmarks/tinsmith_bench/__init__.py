"""Measures bundles: accuracy, latency, memory, size; and says plainly what int8 is worth."""

from tinsmith_bench.benchmark import Options, bench
from tinsmith_bench.reading import parse_report, read_report
from tinsmith_bench.report import Report

__all__ = ["Options", "Report", "bench", "parse_report", "read_report"]
