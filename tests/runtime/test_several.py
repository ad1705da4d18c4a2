"""Models of several inputs and outputs: the bundle, the engines, the face and the commands."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tinsmith_runtime import (
    BackendError,
    BundleError,
    InputError,
    UsageError,
    load,
    read_bundle,
    selftest,
)
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.bundle import Input, Output
from tinsmith_runtime.bundle.golden import GoldenVectors
from tinsmith_runtime.cli import main

FORMATS = {"litert": "tflite", "onnx": "onnx"}
NAMES = ("shares", "place")


@pytest.fixture(scope="module")
def golden(pair: Path) -> GoldenVectors:
    return read_bundle(pair).golden()


@pytest.fixture
def arrays(golden: GoldenVectors) -> dict[str, NDArray[Any]]:
    """What `golden.npz` holds, for a test to change."""
    return {
        f"{name}_{number}": array
        for name in ("inputs", "outputs_int8", "outputs_float")
        for number, array in enumerate(getattr(golden, name))
    }


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _reals(pair: Path, raw: Any) -> dict[str, NDArray[np.float64]]:
    """What int8 outputs stand for, after the activations."""
    outputs = read_bundle(pair).manifest.outputs
    shares, place = (
        (codes.astype(np.float64) - output.zero_point) * output.scale
        for codes, output in zip(raw, outputs, strict=True)
    )
    powers = np.exp(shares)
    return {"shares": powers / powers.sum(axis=1, keepdims=True), "place": place}


def test_predict(pair: Path, golden: GoldenVectors, engine: str) -> None:
    pixels, sums = golden.inputs
    bundle = read_bundle(pair)
    backend = create_backend(engine, bundle.files[f"model.int8.{FORMATS[engine]}"], 1)
    with load(pair, engine) as model:
        assert [entry.name for entry in model.inputs] == ["pixels", "sums"]
        assert (model.input, model.output) == (model.inputs[0], model.outputs[0])
        assert [entry.kind for entry in model.inputs] == ["image", "features"]
        assert model.labels == ()
        raw = model.predict_raw((pixels, sums))
        for codes, expected in zip(raw, golden.outputs_int8, strict=True):
            assert codes.dtype == np.int8
            assert np.abs(codes.astype(int) - expected).max() <= backend.max_lsb
        reals = _reals(pair, raw)
        batches: tuple[Any, ...] = (
            (pixels, sums),
            [pixels, sums],
            {"sums": sums.astype(np.float64), "pixels": pixels},
        )
        for found in map(model.predict, batches):
            assert list(found) == list(NAMES)
            for name, values in found.items():
                assert values.dtype == np.float32
                np.testing.assert_allclose(values, reals[name], rtol=1e-5, atol=1e-6)
        stages = model.decode(model.run(model.encode((pixels, sums))))
        np.testing.assert_allclose(stages[1], reals["place"], rtol=1e-5, atol=1e-6)
        with model.clone() as other:
            np.testing.assert_array_equal(other.predict_raw((pixels, sums))[1], raw[1])


def test_float(pair: Path, golden: GoldenVectors, engine: str) -> None:
    with load(pair, engine, precision="float") as model:
        found = model.predict_raw(golden.inputs)
    for values, expected in zip(found, golden.outputs_float, strict=True):
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_any_number_of_samples(pair: Path, golden: GoldenVectors, engine: str) -> None:
    """None, one, and more than an engine is given at once."""
    with load(pair, engine) as model:
        whole = model.predict_raw(golden.inputs)
        many = model.predict_raw(tuple(np.concatenate([a] * 5) for a in golden.inputs))
        single = model.predict_raw(tuple(a[7:8] for a in golden.inputs))
        none = model.predict(tuple(a[:0] for a in golden.inputs))
        again = model.predict_raw(golden.inputs)
    for number, codes in enumerate(whole):
        np.testing.assert_array_equal(many[number], np.concatenate([codes] * 5))
        np.testing.assert_array_equal(single[number], codes[7:8])
        np.testing.assert_array_equal(again[number], codes)
    assert {name: values.shape for name, values in none.items()} == {
        "shares": (0, 3),
        "place": (0, 2),
    }


PIXELS, SUMS = np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 8), np.float32)
EXPECTED = "batch: expected an array for each of pixels, sums: a tuple in this order, or a dict; "


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (PIXELS, EXPECTED + "got ndarray"),
        ((PIXELS,), EXPECTED + "got 1 arrays"),
        ({"pixels": PIXELS}, EXPECTED + r"got \['pixels'\]"),
        ({"pixels": PIXELS, "sums": SUMS, "x": SUMS}, EXPECTED + "got .*'x'"),
        ((SUMS, PIXELS), r"pixels: expected shape \(N, 8, 8, 1\), got \(2, 8\)"),
        ((PIXELS / 1, SUMS), "pixels: expected uint8 pixels 0..255, got float64"),
        ((PIXELS, SUMS * np.nan), "sums: expected numbers, got NaN"),
        ((PIXELS, SUMS[0]), r"sums: expected shape \(N, 8\), got \(8,\)"),
        ((PIXELS, [1.0]), r"sums: expected shape \(N, 8\), got list"),
        ((PIXELS, SUMS[:1]), r"batch: expected as many samples of each input, got \[2, 1\]"),
    ],
)
def test_batch_that_does_not_fit(pair: Path, engine: str, batch: Any, message: str) -> None:
    with load(pair, engine) as model, pytest.raises(InputError, match=f"^{message}"):
        model.predict(batch)


def test_classify_names_predict(pair: Path, mixed: Path, engine: str) -> None:
    with load(mixed, engine) as model:
        with pytest.raises(UsageError, match="the model takes 2 inputs: use predict"):
            model.classify(PIXELS[0])
        assert model.predict((PIXELS, SUMS)).shape == (2, 3)
        assert model.labels == ("zero", "one", "two")
    with load(pair, engine) as model, pytest.raises(UsageError, match="use predict"):
        model.classify(PIXELS[0])


def test_backends(pair: Path, golden: GoldenVectors, engine: str) -> None:
    bundle = read_bundle(pair)
    backend = create_backend(engine, bundle.files[f"model.int8.{FORMATS[engine]}"], 1)
    assert [tensor.name for tensor in backend.inputs] == ["pixels", "sums"]
    assert [tensor.name for tensor in backend.outputs] == list(NAMES)
    manifest = bundle.manifest
    specs: list[Input | Output] = [*manifest.inputs, *manifest.outputs]
    for tensor, spec in zip((*backend.inputs, *backend.outputs), specs, strict=True):
        assert (tensor.scale, tensor.zero_point) == (spec.scale, spec.zero_point)
    codes = (np.zeros((3, 8, 8, 1), np.int8), np.zeros((3, 8), np.int8))
    signed = backend.run(codes)
    assert [array.dtype for array in signed] == [np.int8, np.int8]
    plus_128 = backend.run(tuple(array.view(np.uint8) ^ 128 for array in codes))
    for one, other in zip(signed, plus_128, strict=True):
        assert other.dtype == backend.code_dtype
        np.testing.assert_array_equal(
            one, (other ^ 128).view(np.int8) if other.dtype == np.uint8 else other
        )
    kept = [array.copy() for array in signed]
    backend.run(tuple(array + np.int8(9) for array in codes))
    for array, copy in zip(signed, kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert {one.arithmetic for one in backend.profile(codes)} == {"integer"}
    for wrong in (codes[:1], codes[::-1], (codes[0], codes[1][:2])):
        with pytest.raises(BackendError, match=r"expected (2 arrays|shape)"):
            backend.run(wrong)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tree: tree["inputs"].reverse(), r"inputs\[0\]\.name: the manifest says sums"),
        (lambda tree: tree["outputs"].reverse(), r"outputs\[0\]\.name: the manifest says place"),
        (lambda tree: tree["outputs"].pop(), "outputs: the manifest says 1, .* says 2"),
        (lambda tree: tree["inputs"][1].update(scale=0.5), r"inputs\[1\]\.scale: the manifest"),
        (lambda tree: tree["outputs"][1].update(shape=[None, 4]), r"outputs\[1\]\.shape: the"),
    ],
)
def test_manifest_that_is_not_the_models(
    pair: Path, forge: Callable[..., Path], engine: str, edit: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(BundleError, match=rf"model\.int8\.{FORMATS[engine]}: {message}"):
        load(forge(edit=edit, source=pair), engine)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda tree: tree["outputs"][1].update(kind="logits", labels=["a", "b"]),
            r"outputs\[1\]\.kind: expected values, for one of several outputs, got 'logits'",
        ),
        (
            lambda tree: tree["outputs"][1].update(labels=["a", "b"]),
            r"outputs\[1\]\.labels: expected none, for values, got 2",
        ),
        (
            lambda tree: tree["inputs"][1].update(name="place"),
            r"inputs, outputs: expected names that differ, got \['pixels', 'place', 'shares', 'p",
        ),
        (
            lambda tree: tree["inputs"].extend(tree["inputs"][:1] * 15),
            "inputs: expected 1 to 16 inputs, got ",
        ),
        (lambda tree: tree["inputs"][1].update(dtype="uint8"), r"inputs\[1\]\.dtype: expected fl"),
    ],
)
def test_manifest_that_contradicts_itself(
    pair: Path, forge: Callable[..., Path], edit: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(BundleError, match=rf"manifest\.json: {message}"):
        read_bundle(forge(edit=edit, source=pair))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs_1": None}, r"inputs_1\.npy: missing"),
        ({"outputs_int8_1": np.zeros((32, 3), np.int8)}, r"outputs_int8_1: expected int8 \(32, 2"),
        ({"inputs_1": np.full((32, 8), np.nan, np.float32)}, r"inputs \(sums\): expected numbers"),
        ({"inputs_0": np.zeros((32, 8), np.float32)}, r"inputs_0(\.npy)?: expected "),
    ],
)
def test_golden_vectors_that_do_not_fit(
    pair: Path,
    forge: Callable[..., Path],
    arrays: dict[str, NDArray[Any]],
    changes: dict[str, NDArray[Any] | None],
    message: str,
) -> None:
    changed = {name: array for name, array in (arrays | changes).items() if array is not None}
    path = forge({"golden.npz": _npz(changed)}, source=pair)
    with pytest.raises(BundleError, match=rf"golden\.npz: {message}"):
        read_bundle(path).golden()


@pytest.mark.both_engines
def test_selftest_looks_at_every_output(
    pair: Path, forge: Callable[..., Path], arrays: dict[str, NDArray[Any]], golden: GoldenVectors
) -> None:
    assert len(selftest(pair)) == 2
    for result in selftest(pair):
        assert (result.equal_vectors, result.max_difference_lsb, result.mismatch) == (32, 0, "")
    codes = golden.outputs_int8[1].copy()
    codes[5, 1] -= 2
    changed = forge({"golden.npz": _npz(arrays | {"outputs_int8_1": codes})}, source=pair)
    assert len(selftest(changed)) == 2
    for result in selftest(changed):
        assert result.mismatch == "golden vector 5, output place[1]: differs by +2 LSB"
        assert (result.equal_vectors, result.max_difference_lsb) == (31, 2)


def test_run(
    pair: Path,
    mixed: Path,
    golden: GoldenVectors,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixels, sums = golden.inputs
    np.savez(tmp_path / "many.npz", sums=sums[:3], pixels=pixels[:3], more=np.zeros(2))
    np.savez(tmp_path / "one.npz", pixels=pixels[0], sums=sums[0])
    (tmp_path / "notes.txt").write_text("no sample")
    assert main(["run", str(pair), str(tmp_path), "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [answer["inputs"].removeprefix(f"{tmp_path}/") for answer in answers]
    assert names == ["many.npz[0]", "many.npz[1]", "many.npz[2]", "one.npz"]
    with load(pair) as model:
        expected = model.predict((pixels[:3], sums[:3]))
    for name in NAMES:
        found = [answer["outputs"][name] for answer in answers]
        np.testing.assert_allclose(found, [*expected[name], expected[name][0]], rtol=1e-6)
    assert main(["run", str(pair), str(tmp_path / "one.npz")]) == 0
    said = capsys.readouterr().out.split()
    assert (said[1], said[5]) == NAMES
    np.testing.assert_allclose([float(word) for word in said[6:]], expected["place"][0], rtol=1e-5)
    line = ["run", str(mixed), str(tmp_path / "one.npz"), "--top", "2", "--json"]
    assert main(line) == 0
    (answer,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    with load(mixed) as model:
        (scores,) = model.predict((pixels[:1], sums[:1]))
    best = [model.labels[i] for i in np.argsort(-scores)[:2]]
    assert [found["label"] for found in answer["predictions"]] == best


def test_run_on_what_does_not_fit(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_line: Callable[[str], str]
) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    np.savez(tmp_path / "b.npz", pixels=PIXELS)
    np.savez(tmp_path / "c.npz", pixels=PIXELS, sums=SUMS[0])
    np.savez(tmp_path / "d.npz", pixels=PIXELS, sums=np.array([None] * 2))
    np.savez(tmp_path / "e.npz", pixels=PIXELS / 1, sums=SUMS)
    names = ["a.png", "b.npz", "c.npz", "d.npz", "e.npz"]
    assert main(["run", str(pair), *(str(tmp_path / name) for name in names), "-"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = captured.err.replace(f"{tmp_path}/", "").replace("tinsmith: error: ", "").splitlines()
    wanted = "the model takes 2 inputs: expected an .npz file with arrays pixels, sums"
    beginnings = [
        f"a.png: {wanted}",
        f"b.npz: {wanted}: no sums in it",
        "c.npz: sums: expected shape (N, 8), as many of each input, got (8,)",
        "d.npz: expected an .npz file of plain arrays",
        "e.npz[0]: pixels: expected uint8 pixels",
        "e.npz[1]: pixels: expected uint8 pixels",
        f"-: {wanted}",
        "tinsmith: 7 of 7 inputs could not be read",
    ]
    for line, beginning in zip(errors, beginnings, strict=True):
        assert line.startswith(beginning)
    assert main(["run", str(pair), "--camera"]) == 2
    assert f"--camera: {wanted}" in one_line(capsys.readouterr().err)


def test_inspect(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(pair)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "input     pixels: 8 x 8 x 1 uint8 pixels, standing for 0 to 1"
    assert lines[1].startswith("input     sums: 8 float32 features, calibrated on ")
    assert lines[2] == "output    shares: 3 values, softmax applied by the runtime"
    assert lines[3] == "output    place: 2 values, none applied by the runtime"
