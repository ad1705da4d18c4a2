"""`benchmarks/footprint.py`: what it measures, which limits it holds it against, what it writes."""

import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

import footprint
from footprint import (
    ARRAYS_NAME,
    LITERT_NAME,
    PIXELS_NAME,
    SHARED,
    STATIC,
    Cost,
    limits,
    main,
    measure,
    page,
    read_pair,
)
from tinsmith_runtime import UsageError, read_bundle
from tinsmith_runtime.bundle import write_bundle

DATA = Path(__file__).parents[1] / "data"
DIGITS = DATA / "digits.tin"
SIZES = {"the runtime": 600_000, "tinsmith-native": 100_000, "the bundle": 200_000}
COSTS = {
    STATIC: Cost(1.0, 2.0, 1.5),
    SHARED: Cost(1.5, 2.5, 2.0),
    PIXELS_NAME: Cost(40.0, 50.0, 15.0),
    ARRAYS_NAME: Cost(100.0, 120.0, 30.0),
    LITERT_NAME: Cost(100.0, 110.0, 40.0),
}


def holds(sizes: dict[str, int], costs: dict[str, Cost]) -> list[bool]:
    return [one.holds for one in limits(sizes, costs)]


def test_limits() -> None:
    assert holds(SIZES, COSTS) == [True] * 5
    assert holds({**SIZES, "the bundle": 800_001}, COSTS) == [False, True, True, True, True]
    for name, change, at_fault in (
        (STATIC, {"best_ms": 5.1}, 1),
        (SHARED, {"peak_mb": 3.1}, 2),
        (PIXELS_NAME, {"best_ms": 80.1}, 3),
        (LITERT_NAME, {"peak_mb": 18.0}, 4),
    ):
        costs = {**COSTS, name: replace(COSTS[name], **change)}
        assert holds(SIZES, costs) == [number != at_fault for number in range(5)]


def test_programs_take_turns() -> None:
    """The first run of each is not counted: it warms the disk's cache."""
    called: list[str] = []

    def program(name: str, *costs: tuple[float, float]) -> tuple[float, float]:
        called.append(name)
        return costs[called.count(name) - 1]

    found = measure(
        {
            "a": lambda: program("a", (0, 0), (3, 5), (1, 6), (2, 4)),
            "b": lambda: program("b", (9, 9), (7, 1), (7, 1), (7, 1)),
        },
        3,
    )
    assert called == ["a", "b"] * 4
    assert found == {"a": Cost(1, 2, 6), "b": Cost(7, 7, 1)}


def test_page() -> None:
    text = page(SIZES, COSTS, 3)
    assert f"| {PIXELS_NAME} | 40.0 | 50.0 | 15.0 |" in text
    assert "| installed, MB | 1.5 | 0.90 | yes |" in text
    assert "| Python, of LiteRT's time | 0.8 | 0.40 | yes |" in text
    assert "| C, ms | 5 | 6.00 | **no** |" in page(
        SIZES, {**COSTS, STATIC: replace(COSTS[STATIC], best_ms=6.0)}, 3
    )


def plan_alone(path: Path, source: Path) -> Path:
    """Writes a bundle of a bundle's plan."""
    bundle = read_bundle(source)
    variants = tuple(one for one in bundle.manifest.variants if one.format == "native")
    kept = {bundle.manifest.golden.file, *(one.file for one in variants)}
    files = {name: data for name, data in bundle.files.items() if name in kept}
    write_bundle(path, replace(bundle.manifest, variants=variants), files)
    return path


def test_which_bundles_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = plan_alone(tmp_path / "small.tin", DIGITS)
    assert read_pair(small, DIGITS) == read_bundle(DIGITS)
    for one, both, message in (
        (small, small, "expected model.int8.tflite: export with --targets native,tflite"),
        (DATA / "planned.tin", DIGITS, "expected the plan of"),
    ):
        with pytest.raises(UsageError, match=message):
            read_pair(one, both)
        assert main([str(one), str(both)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("tinsmith_native") is None or not shutil.which("cmake"),
    reason="CMake or a C compiler is missing",
)
def test_everything_is_built_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Times are for a quiet machine: only what does not depend on it is held here."""
    for limit in ("MOST_C_MS", "MOST_RATIO"):
        monkeypatch.setattr(footprint, limit, 1000.0)
    small, document = plan_alone(tmp_path / "small.tin", DIGITS), tmp_path / "page.md"
    marks = "<!-- measured: benchmarks/footprint.py -->", "<!-- end of what was measured -->"
    document.write_text("\n".join([*marks, ""]))
    assert main([str(small), str(DIGITS), "--runs", "1", "--write", str(document)]) == 0
    text = document.read_text()
    assert capsys.readouterr().out.strip() in text
    assert all(f"| {name} | " in text for name in COSTS)
