import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array, some
from numpy.typing import NDArray
from PIL import Image

from tinsmith_runtime import (
    Bundle,
    BundleError,
    InputError,
    Model,
    Prediction,
    UsageError,
    load,
    open_model,
    read_bundle,
)
from tinsmith_runtime.executor import engine as engine_module

Edit = Callable[[Any], object]


@pytest.fixture(params=["int8", "float"])
def loaded(request: pytest.FixtureRequest, engine: str, bundle: Bundle) -> Iterator[Model]:
    with open_model(bundle, engine, precision=request.param) as opened:
        yield opened


def test_face(tiny: Path, engine: str) -> None:
    with load(tiny, backend=engine, threads=2) as loaded:
        assert loaded.backend == engine
        assert loaded.engine_version
        assert loaded.labels == ("zero", "one", "two")
        assert loaded.input.shape == (None, 8, 8, 1)
        assert loaded.output.activation == "softmax"
        assert loaded.variant.precision == "int8"
    assert load(tiny).backend == "litert"
    assert load(str(tiny), "auto", 1, "float").variant.precision == "float"


def test_golden(bundle: Bundle, engine: str) -> None:
    golden = bundle.golden()
    with open_model(bundle, engine) as loaded:
        codes = loaded.predict_raw(golden.inputs)
        assert codes.dtype == np.int8
        np.testing.assert_array_equal(codes, golden.outputs_int8)
        probabilities = loaded.predict(golden.inputs)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    output = bundle.manifest.output
    logits = (array(golden.outputs_int8) - np.float32(output.zero_point)) * np.float32(output.scale)
    powers = np.exp(logits.astype(np.float64))
    # Softmax in float32 against float64.
    np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), rtol=1e-5)


def test_float_variant_gives_the_float_models_logits(bundle: Bundle, engine: str) -> None:
    golden = bundle.golden()
    with open_model(bundle, engine, precision="float") as loaded:
        logits = loaded.predict_raw(golden.inputs)
    assert logits.dtype == np.float32
    # Two float engines sum in different orders.
    np.testing.assert_allclose(logits, golden.outputs_float, atol=1e-4)


def test_classify(bundle: Bundle, engine: str, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    with open_model(bundle, engine) as loaded:
        expected = loaded.predict(pixels[:1])[0]
        predictions = loaded.classify(pixels[0])
        assert [p.label for p in predictions] == [
            loaded.labels[i] for i in np.argsort(-expected, kind="stable")
        ]
        assert sorted((p.probability for p in predictions), reverse=True) == [
            p.probability for p in predictions
        ]
        assert loaded.classify(pixels[0, ..., 0]) == predictions
        assert loaded.classify(Image.fromarray(pixels[0, ..., 0])) == predictions
        assert loaded.classify(Image.fromarray(pixels[0, ..., 0]).convert("RGB")) == predictions
        Image.fromarray(pixels[0, ..., 0]).save(tmp_path / "x.png")
        assert loaded.classify(tmp_path / "x.png") == predictions
        assert loaded.classify((tmp_path / "x.png").read_bytes()) == predictions
        assert loaded.classify(pixels[0], top=1) == predictions[:1]
        assert loaded.classify(pixels[0], top=99) == predictions
        assert isinstance(predictions[0], Prediction)
        for top in (0, -1):
            with pytest.raises(UsageError, match=f"top: expected a number from 1, got {top}"):
                loaded.classify(pixels[0], top=top)


def test_classify_bare_pixels(tiny: Path, engine: str, pixels: NDArray[np.uint8]) -> None:
    with load(tiny, engine) as loaded:
        for image in pixels:
            expected = loaded.classify(image)
            for memory in (memoryview(image), memoryview(image.tobytes())):
                found = loaded.classify(memory)
                assert [one.label for one in found] == [one.label for one in expected]
                # Doubles here, float32 there.
                np.testing.assert_allclose(
                    [one.probability for one in found],
                    [one.probability for one in expected],
                    rtol=1e-5,
                )
        assert len(loaded.classify(memoryview(bytes(64)), top=1)) == 1
        for wrong in (
            memoryview(bytes(63)),
            memoryview(bytes(65)),
            memoryview(bytes(128))[::2],
            memoryview(bytes(256)).cast("f"),
        ):
            with pytest.raises(InputError, match="memoryview: expected 64 contiguous bytes, got "):
                loaded.classify(wrong)
    with pytest.raises(UsageError, match="the model is closed"):
        loaded.classify(memoryview(bytes(64)))
    floating = load(tiny, engine, precision="float")
    with pytest.raises(UsageError, match="memoryview: expected an int8 model of images"):
        floating.classify(memoryview(bytes(64)))


def test_classify_as_the_manifest_says(
    forge: Callable[..., Path], engine: str, pixels: NDArray[np.uint8]
) -> None:
    path = forge(edit=_edit("inputs", preprocessing={"fit": "crop", "invert": True}))
    dark_on_light = Image.fromarray(255 - pixels[0, ..., 0])
    wide = Image.new("L", (24, 8), 200)
    wide.paste(dark_on_light, (8, 0))
    with load(path, engine) as loaded:
        assert loaded.classify(wide) == loaded.classify(pixels[0])
        assert loaded.classify(dark_on_light) == loaded.classify(pixels[0])


def test_batches(loaded: Model, pixels: NDArray[np.uint8]) -> None:
    """The batch size changes nothing; nor does the way the pixels lie in memory."""
    expected = loaded.predict_raw(pixels)
    many = np.concatenate([pixels] * 5)
    for batch in (pixels[:1], pixels, pixels[:1], many, pixels[:7]):
        found = loaded.predict_raw(batch)
        # A float engine may sum a batch in another order; an integer one may not.
        tolerance = 0 if loaded.variant.precision == "int8" else 1e-5
        reference = np.concatenate([expected] * 5)[: len(batch)]
        np.testing.assert_allclose(found, reference, rtol=0, atol=tolerance)
        assert loaded.predict(batch).shape == (len(batch), 3)
    for strange in (
        np.asfortranarray(pixels),
        pixels.transpose(0, 2, 1, 3).copy().transpose(0, 2, 1, 3),
        np.repeat(pixels, 2, axis=2)[:, :, ::2],
        pixels[::-1].copy()[::-1],
    ):
        assert not strange.flags.c_contiguous
        np.testing.assert_array_equal(loaded.predict_raw(strange), expected)


def test_batch_is_left_as_it_was(loaded: Model, pixels: NDArray[np.uint8]) -> None:
    batch = pixels.copy()
    loaded.predict(batch)
    np.testing.assert_array_equal(batch, pixels)


def test_results_stay_as_they_were(loaded: Model, pixels: NDArray[np.uint8]) -> None:
    first = loaded.predict_raw(pixels[:1])
    kept = first.copy()
    loaded.predict_raw(255 - pixels[:1])
    np.testing.assert_array_equal(first, kept)


def test_huge_batch_is_computed_in_pieces(
    loaded: Model, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_MAX_BATCH", 4)
    sizes = []
    run = some(loaded._engine._backend).run

    def noted(part: NDArray[np.uint8]) -> Any:
        sizes.append(len(part))
        return run(part)

    monkeypatch.setattr(loaded._engine._backend, "run", noted)
    assert loaded.predict(pixels[:10]).shape == (10, 3)
    assert sizes == [4, 4, 2]


def test_empty_batch(loaded: Model, pixels: NDArray[np.uint8]) -> None:
    assert loaded.predict(pixels[:0]).shape == (0, 3)
    assert loaded.predict_raw(pixels[:0]).dtype == loaded.predict_raw(pixels[:1]).dtype


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (np.zeros((8, 8, 1), np.uint8), "batch: expected shape (N, 8, 8, 1), got (8, 8, 1)"),
        (np.zeros((), np.uint8), "batch: expected shape (N, 8, 8, 1), got ()"),
        (np.zeros((2, 8, 8, 3), np.uint8), "batch: expected shape (2, 8, 8, 1), got (2, 8, 8, 3)"),
        (np.zeros((2, 8, 8, 1)), "batch: expected uint8 pixels 0..255, got float64"),
        (np.full((1, 8, 8, 1), np.nan), "batch: expected uint8 pixels 0..255, got float64 with N"),
        (np.zeros((2, 8, 8, 1), np.int8), "batch: expected uint8 pixels 0..255, got int8"),
        ([[0]], "batch: expected shape (N, 8, 8, 1), got list"),
        (None, "batch: expected shape (N, 8, 8, 1), got NoneType"),
    ],
)
def test_wrong_batch(loaded: Model, batch: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        loaded.predict(batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threads": 0}, "threads: expected 1 to 256, got 0"),
        ({"threads": 257}, "threads: expected 1 to 256, got 257"),
        ({"threads": True}, "threads: expected 1 to 256, got True"),
        ({"threads": "x"}, "threads: expected 1 to 256, got 'x'"),
        ({"backend": "tflite"}, "backend: expected auto, native, litert, onnx; got 'tflite'"),
        ({"backend": None}, "backend: expected auto, native, litert, onnx; got None"),
        ({"precision": "fp16"}, "asked for fp16 for litert or onnx"),
        ({"precision": "fp16", "backend": "onnx"}, "asked for fp16 for onnx"),
    ],
)
def test_wrong_argument(tiny: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(tiny, **arguments)


def test_auto_takes_an_engine_that_the_bundle_has_a_model_for(forge: Callable[..., Path]) -> None:
    path = forge(edit=lambda tree: tree["variants"].pop(0))
    assert load(path).variant.file == "model.int8.onnx"
    with pytest.raises(
        UsageError, match=r"holds int8 for onnx, float .* asked for int8 for litert"
    ):
        load(path, "litert")


def test_closed(tiny: Path, engine: str, pixels: NDArray[np.uint8]) -> None:
    loaded = load(tiny, engine)
    loaded.close()
    loaded.close()
    for call in (loaded.predict, loaded.predict_raw):
        for batch in (pixels, pixels[:0]):
            with pytest.raises(UsageError, match="the model is closed: load the bundle again"):
                call(batch)
    with pytest.raises(UsageError, match="the model is closed"):
        loaded.classify(pixels[0])


def _edit(side: str, **fields: object) -> Edit:
    return lambda tree: tree[side][0].update(fields)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_edit("inputs", shape=[None, 8, 4, 2]), "inputs[0].shape: the manifest says (8, 4, 2)"),
        (_edit("inputs", scale=0.5), "inputs[0].scale: the manifest says 0.5"),
        (_edit("inputs", zero_point=0), "inputs[0].zero_point: the manifest says 0"),
        (
            _edit("outputs", shape=[None, 2], labels=["a", "b"]),
            "outputs[0].shape: the manifest says (2,)",
        ),
        (_edit("outputs", scale=0.25), "outputs[0].scale: the manifest says 0.25"),
        (_edit("outputs", zero_point=3), "outputs[0].zero_point: the manifest says 3"),
    ],
)
def test_manifest_that_is_not_the_models(
    forge: Callable[..., Path], engine: str, edit: Edit, message: str
) -> None:
    path = forge(edit=edit)
    with pytest.raises(BundleError, match=rf"^model\.int8\.\w+: {re.escape(message)}, .* says "):
        load(path, engine)


@pytest.mark.parametrize(
    ("changes", "precision", "message"),
    [
        ({"int8": "float"}, "int8", r"inputs\[0\]\.dtype: the manifest says int8, .* says float32"),
        (
            {"float": "int8"},
            "float",
            r"inputs\[0\]\.dtype: the manifest says float32, .* says int8",
        ),
    ],
)
def test_model_file_that_is_another(
    forge: Callable[..., Path],
    bundle: Bundle,
    engine: str,
    changes: dict[str, str],
    precision: str,
    message: str,
) -> None:
    form = {"litert": "tflite", "onnx": "onnx"}[engine]
    files = {f"model.{a}.{form}": bundle.files[f"model.{b}.{form}"] for a, b in changes.items()}
    with pytest.raises(BundleError, match=rf"^model\.{precision}\.{form}: {message}"):
        load(forge(files), engine, precision=precision)


@pytest.mark.parametrize("data", [b"\0", b"hello" * 100, bytes(4096), None])
def test_model_file_that_is_none(
    forge: Callable[..., Path],
    bundle: Bundle,
    engine: str,
    data: bytes | None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """`None` stands for the first half of the right file."""
    name = {"litert": "model.int8.tflite", "onnx": "model.int8.onnx"}[engine]
    half = bundle.files[name][: len(bundle.files[name]) // 2]
    path = forge({name: half if data is None else data})
    read_bundle(path)
    with pytest.raises(BundleError) as caught:
        load(path, engine)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_path_types(tiny: Path) -> None:
    for path in (tiny, str(tiny), Path(str(tiny))):
        assert load(path).labels
