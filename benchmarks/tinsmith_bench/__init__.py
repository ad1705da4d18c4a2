"""Measures bundles: accuracy, latency, memory, size; and what int8 gains and loses."""

from tinsmith_bench.api import bench
from tinsmith_bench.gates.comparing import Compared, compare
from tinsmith_bench.options import Options
from tinsmith_bench.report_data.reading import parse_report, read_report
from tinsmith_bench.report_data.report import Report

__all__ = ["Compared", "Options", "Report", "bench", "compare", "parse_report", "read_report"]
