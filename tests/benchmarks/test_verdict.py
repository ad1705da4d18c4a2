"""The verdict in each case that a reader can meet."""

from collections.abc import Callable
from typing import Any

import pytest
from spec import Spec

from tinsmith_bench.report_data import Report


def float_and_int8(make_report: Callable[..., Report], spec: type[Spec], **int8: Any) -> Report:
    return make_report(
        spec("litert", "float", 100, correct=9_945, size_bytes=146_000),
        spec("litert", "int8", **int8),
    )


def test_int8_that_is_faster(make_report: Callable[..., Report], spec: type[Spec]) -> None:
    ship, engine = float_and_int8(make_report, spec, p50=50, correct=9_940).verdict
    assert engine.startswith(
        "int8 on LiteRT: int8 takes 0.50 of float's time (p50 50 µs, float 100 µs;"
    )
    assert "3.2 times smaller (45.0 kB, float 146.0)" in engine
    assert "Memory is the same within noise" in engine
    assert "Accuracy is the same within noise (99.40 %, float 99.45 %; 5 samples lost" in engine
    assert ship.startswith("On this machine ship int8 on LiteRT (model.int8.tflite), the fastest:")
    assert (
        "int8 pays here: it takes 0.50 of the time of float on LiteRT, the fastest float variant "
        "(95 % interval 0.49 to 0.51)." in ship
    )
    assert "does not pay" not in engine + ship


def test_int8_that_is_slower(make_report: Callable[..., Report], spec: type[Spec]) -> None:
    ship, engine = float_and_int8(make_report, spec, p50=150, noise=0.02).verdict
    assert "int8 does not pay in speed here: it takes 1.50 times as long as float" in engine
    assert "(p50 150 µs, float 100 µs; 95 % interval 1.47 to 1.53)" in engine
    assert ship.startswith("On this machine ship float on LiteRT (model.float.tflite)")
    assert "No int8 variant keeps up with it, so int8 does not pay here." in ship
    assert "int8 on LiteRT saves 101.0 kB" in ship


@pytest.mark.parametrize(("p50", "noise"), [(98, 0.001), (90, 0.12), (110, 0.12), (100, 0.001)])
def test_a_difference_within_noise_is_called_so(
    make_report: Callable[..., Report], spec: type[Spec], p50: int, noise: float
) -> None:
    ship, engine = float_and_int8(make_report, spec, p50=p50, noise=noise).verdict
    assert "int8 is as fast as float within noise" in engine
    assert "pay" not in engine + ship
    assert "ship int8 on LiteRT" in ship
    assert "as fast as float on LiteRT within noise, and smaller" in ship


@pytest.mark.parametrize(("p50", "fastest"), [(120, 85), (80, 95)])
def test_a_p50_that_the_fastest_calls_contradict_is_noise(
    make_report: Callable[..., Report], spec: type[Spec], p50: int, fastest: int
) -> None:
    _, engine = float_and_int8(make_report, spec, p50=p50, fastest=fastest).verdict
    assert "int8 is as fast as float within noise" in engine
    assert f"ratio {p50 / 100:.2f}" in engine
    assert f"of the fastest calls {fastest / 90:.2f})" in engine


def test_accuracy_lost_beyond_chance_is_a_price(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    ship, engine = float_and_int8(make_report, spec, p50=50, correct=9_915).verdict
    assert (
        "It loses 0.30 points of accuracy (99.15 %, float 99.45 %; 30 samples lost, 0 won" in engine
    )
    assert "ship int8 on LiteRT" in ship
    assert "Its price is 0.30 points of accuracy against float on LiteRT." in ship


def test_too_much_accuracy_lost_bars_a_variant(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    ship, _ = float_and_int8(make_report, spec, p50=50, correct=9_880).verdict
    assert "ship float on LiteRT" in ship
    assert "More than 0.5 points less accurate: int8 on LiteRT." in ship
    assert "int8 does not pay here" in ship


def test_accuracy_gained_and_memory_saved(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    _, engine = float_and_int8(make_report, spec, p50=50, correct=9_970, memory=35e6).verdict
    assert "It gains 0.25 points of accuracy" in engine
    assert "It needs 6.0 MB less memory (35.0 MB, float 41.0)." in engine


def test_the_same_on_every_image_and_more_memory(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    _, engine = float_and_int8(make_report, spec, p50=50, correct=9_945, memory=48e6).verdict
    assert "Accuracy is the same on every sample" in engine
    assert "It needs 7.0 MB more memory" in engine


@pytest.mark.parametrize("memory", [40.6e6, 41.4e6])
def test_memory_that_hardly_differs_is_called_the_same(
    make_report: Callable[..., Report], spec: type[Spec], memory: float
) -> None:
    _, engine = float_and_int8(make_report, spec, p50=50, memory=memory).verdict
    assert "Memory is the same within noise or 1 % (" in engine


def test_engines_are_judged_apart_and_shipped_together(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    ship, litert, ort = make_report(
        spec("litert", "float", 125, size_bytes=146_000),
        spec("litert", "int8", 192),
        spec("onnx", "float", 211, size_bytes=150_000),
        spec("onnx", "int8", 90, size_bytes=47_000),
    ).verdict
    assert litert.startswith("int8 on LiteRT: int8 does not pay in speed here")
    assert ort.startswith("int8 on ONNX Runtime: int8 takes 0.43 of float's time")
    assert ship.startswith("On this machine ship int8 on ONNX Runtime (model.int8.onnx)")
    assert "int8 pays here: it takes 0.72 of the time of float on LiteRT, the fastest fl" in ship


def test_an_engine_without_float_is_held_against_the_fastest_float(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    ship, native, *_ = make_report(
        spec("native", "int8", 50, size_bytes=40_000),
        spec("litert", "float", 125),
        spec("onnx", "float", 100),
        spec("onnx", "int8", 90),
    ).verdict
    assert ship.startswith("On this machine ship int8 on tinsmith native (model.int8.native)")
    assert "int8 pays here: it takes 0.50 of the time of float on ONNX Runtime, the fast" in ship
    assert native.startswith(
        "int8 on tinsmith native, against float on ONNX Runtime: int8 takes 0.50 of float's time"
    )


def test_one_variant_alone_is_compared_with_nothing(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    (ship,) = make_report(spec("litert", "int8", 90)).verdict
    assert ship.startswith("On this machine ship int8 on LiteRT")


def test_int8_that_is_slower_and_larger_saves_nothing(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    ship, _ = float_and_int8(make_report, spec, p50=150, size_bytes=150_000).verdict
    assert "int8 does not pay here" in ship
    assert "saves" not in ship


def test_a_file_that_grew_is_called_larger(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    _, engine = float_and_int8(make_report, spec, p50=50, size_bytes=292_000).verdict
    assert "The file is 2.0 times larger" in engine
