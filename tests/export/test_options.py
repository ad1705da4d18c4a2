"""`Options`: what cannot be is said at once, with the name of the field."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinsmith_export import Options, Samples, compile_model
from tinsmith_runtime.bundle import BoxHead, PixelRanges
from tinsmith_runtime.errors import UsageError

HEAD = BoxHead(("boxes",), ("scores",), ("a",), "corners")
WRONG: dict[str, list[Any]] = {
    "input_range": [
        (0.0,), (0, 1, 2), (1, 0), (0, 0), (0, math.nan), (-math.inf, 0), (0, 1e39), (-1e39, 0),
        (0, 1e-40), (0, 10**400), ("0", "1"), (False, True), "01",
    ],
    "mean": [
        (), (math.nan,), (1, math.inf), ("1",), (True,), 5, "12", (1,) * 17, (1e39,), (10**400,),
        (0.485, 0.456, 0.406), (0.5,),
    ],
    "std": [
        (), (0,), (58.4, -1), (math.nan,), (math.inf,), (True,), 5.0, (255,) * 17, (1e39,),
        (0.229, 0.224, 0.225), (255, 0.5),
    ],
    "channels": ["RGB", "grey", "", 3, True],
    "preprocess": ["TF", "imagenet", "", 1, True],
    "recipe": ["QAT", "PTQ", "", None, 8],
    "budget_s": [-1, math.nan, math.inf, "10m", True, None, 1e10],
    "qat_steps": [-1, 2**31, 10.0, "10", True, math.nan],
    "qat_batch": [0, -1, 2**31, 8.0, "8", True],
    "max_drop_pp": [math.nan, math.inf, -math.inf, 100.1, -101, "0.5", True, None, Fraction(1, 2)],
    "max_changed_pp": [math.nan, math.inf, -0.1, 100.1, "2", True, None],
    "strict": [1, "yes", None],
    "keep_rejected": ["file.tin", b"file.tin", 1],
    "seed": [-1, 2**32, 0.0, "0", None, False, math.nan],
    "release": [-1, 2**31, 0.0, "0", None, False, math.nan],
    "weight_bits": [6, 9, 32, 8.0, "8", True, None],
    "keep_float": ["conv", ("conv", 1), ("",), None],
    "layer_errors": [1, "no", None],
    "sensitivity": [0, "yes", None],
    "targets": ["native", (1,), {"native"}],
    "stateful": [1, "yes", None],
    "verify_onnx": [1, "yes", None],
    "input_shape": [(), (0, 1), (8, -8, 1), (8.0, 8, 1), (True, 8), (None, 8), 8, "88"],
    "output": [0, ("answer",)],
    "custom_objects": [[Path], {0: Path}, {"": Path}, None],
    "boxes": [{}, "head.json", replace(HEAD, labels=()), replace(HEAD, coding="polar"),
              replace(HEAD, score_limit=math.nan), replace(HEAD, variances=(0, 1, 1, 1)),
              replace(HEAD, anchors=((0, 0, math.inf, 1),)), replace(HEAD, boxes=b"loc")],  # type: ignore[arg-type]
    "fit": ["cover", None, 1],
    "padding": [-1, 256, 1.0, "114", True, None, 114],
}  # fmt: skip
RIGHT: dict[str, list[Any]] = {
    "input_range": [(0, 1), (-1.0, 1.0), [0, 255], (np.float64(0), np.float64(2)), (-3, -1), None],
    "mean": [None, (0,), (-3.5, 300), [123.675, 116.28, 103.53], (0, 0.5, 117)],
    "std": [None, (1,), [58.395, 57.12, 57.375], (np.float64(127.5),)],
    "channels": [None, "rgb", "bgr"],
    "preprocess": [None, "tf", "torch", "caffe"],
    "recipe": ["auto", "ptq", "calibrated", "qat"],
    "budget_s": [0, 0.5, 3600],
    "qat_batch": [None, 1, 128],
    "qat_steps": [1, 2**31 - 1],
    "max_drop_pp": [0, 0.0, 100, -100.0],
    "max_changed_pp": [0, 0.0, 100],
    "strict": [True],
    "stateful": [False, True],
    "keep_rejected": [None, Path("file.tin")],
    "seed": [0, 2**32 - 1],
    "release": [0, 2**31 - 1],
    "weight_bits": [7, 8],
    "keep_float": [(), ("conv", "auto"), ["conv"]],
    "input_shape": [None, (1,), [224, 224, 3]],
    "targets": [None, ("native",), ["tflite", "onnx"]],
    "output": [None, "answer"],
    "custom_objects": [{}, {"Mine": Path}],
    "boxes": [None, HEAD, replace(HEAD, labels=("a", "b"))],
    "fit": ["stretch", "contain", "crop"],
    "padding": [0],
}


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for f, values in WRONG.items() for v in values]
)
def test_what_cannot_be(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{field}\S*: expected .*, got ") as caught:
        Options(**{field: value})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for f, values in RIGHT.items() for v in values]
)
def test_what_can_be(field: str, value: Any) -> None:
    assert getattr(Options(**{field: value}), field) == value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preprocess": "tf", "input_range": (0, 1)}, "preprocess: expected tf alone"),
        ({"preprocess": "caffe", "mean": (1,)}, "preprocess: expected caffe alone"),
        ({"preprocess": "caffe", "std": (2,)}, "preprocess: expected caffe alone"),
        ({"preprocess": "torch", "channels": "bgr"}, "preprocess: expected torch alone"),
        ({"mean": (1,), "input_range": (0, 1)}, "input_range: expected it or mean and std"),
        ({"std": (2,), "input_range": (0, 1)}, "input_range: expected it or mean and std"),
        ({"mean": (1, 2), "std": (2, 2, 2)}, "std: expected 2 numbers, as many as mean has, got 3"),
        ({"mean": (0.5,), "std": (0.5,)}, "std: expected numbers for pixels 0 to 255, got some "),
    ],
)
def test_pixels_are_told_of_in_one_way(options: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Options(**options)
    assert str(caught.value).startswith(said)


def test_what_the_model_takes_for_pixels() -> None:
    assert Options().pixel_ranges == PixelRanges(((0.0, 1.0),))
    assert Options(channels="bgr").pixel_ranges == PixelRanges(((0.0, 1.0),), "bgr")
    found = Options(mean=(51,), std=(2, 4)).pixel_ranges
    assert found == PixelRanges(((-25.5, 102.0), (-12.75, 51.0)))
    same = Options(mean=(103.939, 116.779, 123.68), channels="bgr")
    assert Options(preprocess="caffe").pixel_ranges == same.pixel_ranges


def test_every_field_is_tried() -> None:
    assert set(WRONG) == set(Options.__dataclass_fields__)


def test_steps_are_for_qat_alone() -> None:
    assert Options(recipe="ptq", qat_steps=0).qat_steps == 0
    with pytest.raises(UsageError, match="qat_steps: expected 1 or more, got 0: for none, recipe"):
        Options(qat_steps=0)


def test_a_program_is_told_before_the_work(tmp_path: Path) -> None:
    inputs = np.zeros((20, 3), np.float32)
    samples = Samples("zeros", "0" * 64, inputs, None, inputs, None, ())
    with pytest.raises(UsageError, match=r"nowhere/a\.tin: cannot be written"):
        compile_model(object(), samples, tmp_path / "nowhere" / "a.tin")
    for place, said in (("nowhere/b.tin", "cannot be written"), ("a.tin", "another file")):
        options = Options(keep_rejected=tmp_path / place)
        with pytest.raises(UsageError, match=said):
            compile_model(object(), samples, tmp_path / "a.tin", options)
    with pytest.raises(UsageError, match="samples: expected a Dataset, Samples, or what"):
        compile_model(object(), inputs, tmp_path / "a.tin")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "two\nlines"}, r"samples: expected names without control characters, got 'two"),
        ({"classes": ("yes", "\x1b[1m")}, "samples: expected names without control characters"),
        ({"classes": ("yes", 3)}, "samples: expected names without control characters, got 3"),
        ({"sha256": "abc"}, "zeros: sha256: expected 64 hex digits, got 'abc'"),
    ],
)
def test_what_the_bundle_could_not_say_is_told_before_the_work(
    changes: dict[str, Any], said: str
) -> None:
    inputs = np.zeros((20, 3), np.float32)
    with pytest.raises(UsageError, match=said):
        replace(Samples("zeros", "0" * 64, inputs, None, inputs, None, ()), **changes)


@pytest.mark.parametrize("field", ["calibration_labels", "evaluation_labels"])
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(1, int), "expected integer labels"),
        (np.zeros(20), "expected integer labels"),
        (np.full(20, -1), "expected labels of 0 or more, got -1"),
    ],
)
def test_labels_that_are_none(field: str, labels: Any, said: str) -> None:
    inputs = np.zeros((20, 3), np.float32)
    given = {"calibration_labels": None, "evaluation_labels": None, field: labels}
    with pytest.raises(UsageError, match=f"zeros: {field}: {said}"):
        Samples("zeros", "0" * 64, calibration=inputs, evaluation=inputs, classes=(), **given)
