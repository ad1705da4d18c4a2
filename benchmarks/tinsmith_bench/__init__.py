"""Measures bundles: accuracy, latency, memory, size; and says plainly what int8 is worth."""

from tinsmith_bench.benchmark import bench
from tinsmith_bench.report import Report

__all__ = ["Report", "bench"]
