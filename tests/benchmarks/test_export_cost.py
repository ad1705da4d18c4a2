"""The rows of `benchmarks/export_cost.py`, and the limits that they are held to."""

from export_cost import rows
from routes import Cost


def costs(seconds: list[float], peak_memory_mb: float) -> list[Cost]:
    return [Cost(one, 2 * one, peak_memory_mb, 1000, False, "") for one in seconds]


def test_limits_that_are_kept() -> None:
    found = {
        "tflite-ptq": costs([10.0, 20.0, 12.0], 1300.4),
        "ptq": costs([18.0, 30.0, 30.0], 2400.0),
        "qat": costs([300.0], 3999.0),
    }
    assert rows("mine", "300 + 200", found) == [
        "| mine | 300 + 200 | tflite-ptq | 12.0 | 24.0 | - | 1,300 | - |",
        "| mine | 300 + 200 | ptq | 30.0 | 60.0 | 1.80 (2.50) | 2,400 | yes |",
        "| mine | 300 + 200 | qat | 300.0 | 600.0 | - | 3,999 | yes |",
    ]


def test_limits_that_are_broken() -> None:
    found = {
        "tflite-ptq": costs([10.0], 9000.0),
        "ptq": costs([20.1], 2501.0),
        "qat": costs([1.0], 4001.0),
    }
    verdicts = [row.split(" | ")[-1].rstrip(" |") for row in rows("mine", "300 + 200", found)]
    assert verdicts == [
        "-",
        "no: more than 2 times the time, more than 2,500 MB",
        "no: more than 4,000 MB",
    ]
