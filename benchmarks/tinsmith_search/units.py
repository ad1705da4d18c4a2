"""Metrics in words: by their names, which of them are exact, and how a person reads a value."""

import math

from tinsmith_search.goals import MEASURED, METRICS

_SHARES = ("accuracy", "agreement")
_EXACT = METRICS.keys() - MEASURED - set(_SHARES)


def is_exact(metric: str) -> bool:
    """Whether a metric is counted, so that it has no interval: `size_bytes`, `macs`."""
    return _base(metric) in _EXACT


def is_timed(metric: str) -> bool:
    """Whether a metric belongs to the board or CPU that it was measured on: `latency_us_p50`."""
    return _base(metric) in MEASURED


def scaled(metric: str, value: float) -> float:
    """A value as it is shown: shares in percent, all others as they are."""
    return 100 * value if _base(metric) in _SHARES else value


def heading(metric: str) -> str:
    """A metric with the unit of `value_text`, where its name does not say it."""
    return f"{metric} (%)" if _base(metric) in _SHARES else metric


def value_text(metric: str, value: float | None) -> str:
    """A value without its unit: `99.12`, `12,345`; `-` where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    shown = scaled(metric, value)
    if _base(metric) in _SHARES:
        return f"{shown:.2f}"
    return f"{shown:,.0f}" if is_exact(metric) or abs(shown) >= 100 else f"{shown:.3g}"


def interval_text(metric: str, low: float | None, high: float | None) -> str:
    """An interval: `98.90 to 99.29`; nothing where an end is not known."""
    ends = [value_text(metric, end) for end in (low, high)]
    return "" if "-" in ends else " to ".join(ends)


def _base(metric: str) -> str:
    return metric.partition(" on ")[0]
