"""Models with several inputs and outputs, the whole way: names, order, the same integers."""

import functools
import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tf_keras
from compiling import compiled, model_file, settle
from narrow import some
from onnx import numpy_helper

from tinsmith_export import Exported, Options, Samples, compile_model
from tinsmith_export.frontend.load import load_keras, prepared
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.predict import run
from tinsmith_export.frontend.trace import trace
from tinsmith_export.inputs.checks import input_warnings
from tinsmith_export.inputs.sources import from_calibration
from tinsmith_export.outputs import leveled
from tinsmith_export.passes.rewrite import rewrite
from tinsmith_export.reference.rebuild import rebuild
from tinsmith_export.verify.parity import first_difference
from tinsmith_runtime import load, read_bundle
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.batch import Arrays, each, joined, parts
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import TinsmithError, UsageError

IMAGE, FEATURES = (8, 8, 3), (4,)
RNG = np.random.default_rng(4)
PIXELS = RNG.integers(0, 256, (80, *IMAGE), np.uint8)
VALUES = RNG.normal(size=(80, *FEATURES)).astype(np.float32)
REALS = PIXELS / np.float32(255)
ANYTHING = Options(recipe="ptq", max_drop_pp=100.0, max_changed_pp=100.0)
FILES = ("model.int8.tflite", "model.int8.onnx", "model.float.tflite", "model.float.onnx")


def trunk(library: Any) -> tuple[Any, Any, Any]:
    """An image and features, and what is made of both."""
    layers = library.layers
    image, features = library.Input(IMAGE, name="image"), library.Input(FEATURES, name="state")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.Concatenate(name="meet")([layers.Flatten()(x), features])
    return image, features, layers.Dense(8, activation="relu", name="hidden")(x)


def sensor() -> Any:
    """Image and features to classes."""
    image, features, x = trunk(keras)
    return settle(keras.Model([image, features], keras.layers.Dense(3, "softmax", name="class")(x)))


def detector() -> Any:
    """An image to classes and a box, which are of very different sizes."""
    layers = keras.layers
    image = keras.Input(IMAGE, name="image")
    x = layers.Conv2D(6, 3, strides=2, activation="relu", name="conv")(image)
    x = layers.Flatten()(x)
    box = layers.Rescaling(100.0, name="box")(layers.Dense(4, name="place")(x))
    return settle(keras.Model(image, [layers.Dense(3, "softmax", name="class")(x), box]))


def knot() -> Any:
    """Every knot at once: dicts, an output used inside, one twice, and an input as it is."""
    layers = tf_keras.layers
    image, features, x = trunk(tf_keras)
    gate = layers.Dense(8, activation="sigmoid", name="gate")(x)
    outputs = {
        "image": layers.Conv2D(2, 3, name="mask")(image),
        "gated": layers.Multiply()([x, gate]),
        "gate": gate,
        "hidden": x,
        "again": x,
        "given": features,
    }
    return settle(tf_keras.Model({"b": image, "a": features}, outputs))


Made = Callable[[str], tuple[Any, Exported, Path]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Compiles a model by its name, once; what it is calibrated with lies beside it."""
    folder = tmp_path_factory.mktemp("several")
    labels = RNG.integers(0, 3, len(PIXELS))
    np.savez(folder / "sensor.npz", state=VALUES, image=PIXELS, y=labels, labels=list("xyz"))
    np.savez(folder / "detector.npz", PIXELS)
    np.savez(folder / "knot.npz", image=PIXELS, state=VALUES)

    @functools.cache
    def make(name: str) -> tuple[Any, Exported, Path]:
        model, out = {"sensor": sensor, "detector": detector, "knot": knot}[name](), folder / name
        options = replace(ANYTHING, recipe="qat", qat_steps=8, sensitivity=True)
        options = options if name == "detector" else ANYTHING
        return model, compile_model(model, f"{out}.npz", out.with_suffix(".tin"), options), out

    return make


NAMES = {
    "sensor": (["image", "state"], ["logits"]),
    "detector": (["image"], ["class", "box"]),
    "knot": (["state", "image"], ["again", "gate", "gated", "given", "hidden", "image_1"]),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_way(made: Made, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    model, exported, out = made(name)
    manifest = exported.manifest
    inputs, outputs = NAMES[name]
    assert [tensor.name for tensor in manifest.inputs] == inputs
    assert [tensor.name for tensor in manifest.outputs] == outputs
    parities = {target.target: target for target in manifest.quality.parity}
    for parity in (one for t in parities.values() for one in (t.evaluation, t.random)):
        sizes = sum(int(np.prod(output.sample_shape)) for output in manifest.outputs)
        assert parity.compared % sizes == 0
        assert parity.max_difference_lsb <= 1, parity
    given = {"image": PIXELS[:9], "state": VALUES[:9]}
    batch = joined([given[key] for key in inputs])
    expected = parts(run(prepared(model, None, None), taken(batch)))
    answers = []
    for engine in ("litert", "onnx"):
        with load(out.with_suffix(".tin"), backend=engine) as loaded:
            found = loaded.predict(batch)
        answers.append([found[key] for key in outputs] if len(outputs) > 1 else [found])
        for output, wanted, values in zip(manifest.outputs, expected, answers[-1], strict=True):
            error = np.abs(values - wanted).max()
            assert error <= 0.12 * max(1.0, np.abs(wanted).max()), (output.name, error)
    evaluated = parities["onnx"].evaluation
    if evaluated.equal == evaluated.compared:
        for one, other in zip(*answers, strict=True):
            np.testing.assert_array_equal(one, other)
    assert main(["selftest", str(out.with_suffix(".tin"))]) == 0
    capfd.readouterr()


def taken(batch: Arrays) -> Arrays:
    """What the Keras model takes."""
    return each(lambda array: array / np.float32(255) if array.dtype == np.uint8 else array, batch)


def test_labels_and_classes_of_the_one_output(made: Made) -> None:
    _, exported, _ = made("sensor")
    (output,) = exported.manifest.outputs
    assert (output.kind, output.labels, output.activation) == ("logits", tuple("xyz"), "softmax")
    assert exported.manifest.quality.stages[0].accuracy is not None
    assert [source.kind for source in exported.manifest.inputs] == ["image", "features"]


def test_each_output_has_its_own_activation_and_no_labels(made: Made) -> None:
    _, exported, _ = made("detector")
    found = [(o.kind, o.labels, o.activation) for o in exported.manifest.outputs]
    assert found == [("values", (), "softmax"), ("values", (), "none")]
    stages = exported.manifest.quality.stages
    assert {(stage.accuracy, stage.agreement) for stage in stages} == {(None, None)}
    assert [row.layer for row in exported.sensitivities] == ["conv", "class", "place"]
    assert all(row.alone_sqnr_db and row.alone_drop_pp is None for row in exported.sensitivities)
    first, *rest = exported.checkpoints
    # 1.0 would be the error of a model that always gives the mean, whichever output is larger.
    assert 0 < first.mean_squared_error < 0.1
    # Corrected biases leave fine-tuning little to gain here; what it must not do is to go astray.
    assert max(checkpoint.mean_squared_error for checkpoint in rest) < 2 * first.mean_squared_error
    _, exported, _ = made("knot")
    activations = {o.name: o.activation for o in exported.manifest.outputs}
    assert activations.pop("gate") == "sigmoid"
    assert set(activations.values()) == {"none"}


def test_files_name_and_order_tensors_as_the_manifest(made: Made) -> None:
    _, exported, out = made("knot")
    manifest, files = exported.manifest, read_bundle(out.with_suffix(".tin")).files
    for file in FILES:
        backend = create_backend("onnx" if file.endswith("onnx") else "litert", files[file], 1)
        for tensors, found in (
            (manifest.inputs, backend.inputs),
            (manifest.outputs, backend.outputs),
        ):
            assert [tensor.name for tensor in found] == [tensor.name for tensor in tensors]
            assert [tensor.shape for tensor in found] == [t.sample_shape for t in tensors]
    with np.load(io.BytesIO(files["golden.npz"])) as golden:
        keys = {f"inputs_{i}" for i in range(2)}
        keys |= {f"outputs_{kind}_{i}" for kind in ("int8", "float") for i in range(6)}
        assert set(golden.files) == keys
    files = read_bundle(made("detector")[2].with_suffix(".tin")).files
    with np.load(io.BytesIO(files["golden.npz"])) as golden:
        assert {"inputs", "outputs_int8_0", "outputs_float_1"} < set(golden.files)


def test_what_is_an_output_already_is_a_copy_of_it(made: Made) -> None:
    _, exported, out = made("knot")
    layers = {layer.name: layer.kind for layer in exported.manifest.layers}
    copies = {name.removesuffix("/copy/scale") for name in layers if "/copy" in name}
    # The gate's own sigmoid reads it, which may compute in float.
    assert copies == {"hidden", "given", "gate"}
    for engine in ("litert", "onnx"):
        with load(out.with_suffix(".tin"), backend=engine) as loaded:
            found = loaded.predict((VALUES, PIXELS))
        np.testing.assert_array_equal(found["again"], found["hidden"])
        seen = np.clip(VALUES, *some(exported.manifest.inputs[0].value_range))
        np.testing.assert_allclose(found["given"], seen, atol=0.03)


Build = Callable[[Any], list[Any]]
L = keras.layers
INSIDE: dict[str, Build] = {
    "a scaling behind an output": lambda x: [x, L.Rescaling(3.0, 1.0)(x)],
    "a normalization behind an output": lambda x: [x, L.BatchNormalization()(x)],
    "a ReLU behind an output": lambda x: [x, L.ReLU()(x)],
    "an output behind a ReLU": lambda x: [L.ReLU(6.0)(x), L.Conv2D(2, 3)(L.ReLU(6.0)(x))],
    "a ReLU before a pooling that is one": lambda x: [L.MaxPooling2D()(x), L.ReLU()(x)],
    "a flattened output": lambda x: [x, L.Flatten()(x), L.Dense(3)(L.Flatten()(x))],
    "a sigmoid used inside": lambda x: [x, (gate := L.Activation("sigmoid")(x)), x * gate],
    "a sum": lambda x: [x + L.Conv2D(3, 1)(x), x],
    "what is computed in float behind an output": lambda x: [
        x,
        L.LayerNormalization()(x),
        L.Activation("elu")(x),
        L.Activation("softplus")(L.Flatten()(x)),
    ],
    "what was computed in float": lambda x: [
        (norm := L.LayerNormalization()(x)),
        L.Activation("elu")(norm),
        L.Conv2D(2, 1)(norm),
    ],
    "an activation spelt out": lambda x: [L.Activation("gelu")(x), L.Activation("gelu")(x) * 2.0],
    "a leaky ReLU": lambda x: [L.LeakyReLU()(x), x],
    "logits and their softmax": lambda x: [
        (logits := L.Dense(3)(L.Flatten()(x))),
        L.Softmax()(logits),
    ],
    "an upsampling of an output": lambda x: [(up := L.UpSampling2D()(x)), L.UpSampling2D()(up)],
    "a padding before a convolution": lambda x: [
        (wide := L.ZeroPadding2D()(x)),
        L.Conv2D(2, 3)(wide),
    ],
}


@pytest.mark.parametrize("name", INSIDE)
def test_an_output_that_is_used_inside(name: str) -> None:
    source = keras.Input(IMAGE)
    outputs = INSIDE[name](L.Conv2D(3, 3, name="conv")(source))
    made = compiled(settle(keras.Model(source, outputs)), count=24)
    assert [node.shape for node in made.graph.outputs] == [tuple(x.shape[1:]) for x in outputs]
    read = [node.inputs for node in made.graph.outputs]
    assert len(set(read)) == len(read)
    assert made.parity.max_difference_lsb <= 1, made.parity


def test_the_heads_of_a_detector() -> None:
    """A softmax over the classes of each place, and boxes."""
    source = keras.Input(IMAGE)
    x = L.Conv2D(6, 3, strides=2, activation="relu")(source)
    scores = L.Softmax()(L.Reshape((18, 3))(L.Conv2D(6, 1)(x)))
    boxes = L.Reshape((18, 4))(L.Conv2D(8, 1)(x))
    made = compiled(settle(keras.Model(source, [scores, boxes])), count=40)
    assert [(o.shape, o.activation) for o in made.outputs] == [
        ((None, 18, 3), "softmax"),
        ((None, 18, 4), "none"),
    ]
    assert made.parity.equal == made.parity.compared


@pytest.mark.parametrize("shape", [(3,), (5, 3), (4, 4, 3)])
def test_inputs_that_meet_at_once(shape: tuple[int, ...]) -> None:
    """Inputs have no range to give: they are rounded anew."""
    sources = [keras.Input(shape, name=name) for name in ("left", "right")]
    x = L.Concatenate()([L.Add()(sources), sources[0], L.ReLU()(sources[1])])
    x = L.Flatten()(L.Multiply()([x, x]))
    made = compiled(settle(keras.Model(sources, L.Dense(2)(x))), count=60)
    assert made.parity.max_difference_lsb <= 1, made.parity


def test_a_difference_is_found_at_its_output() -> None:
    small = compiled(detector(), count=40)
    good = model_file("model.int8.tflite", small.files["model.int8.tflite"])
    graph = small.quantized.graph
    for layer in ("place", "class", "conv"):
        model = onnx.load_from_string(small.files["model.int8.onnx"])
        (tensor,) = [t for t in model.graph.initializer if t.name == f"{layer}.weight"]
        weights = numpy_helper.to_array(tensor).copy()
        weights[...] = np.maximum(weights, -weights)
        tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
        bad = model_file("model.int8.onnx", bytes(model.SerializeToString()))
        every = np.ones(40, np.bool_)
        found, lsb = first_difference(good, bad, graph, small.codes, every)
        assert (found, bool(lsb)) == (layer, True)


def test_every_output_counts_the_same() -> None:
    reference = tuple(RNG.normal(size=(50, *s)) * scale for s, scale in (((3,), 1), ((4, 5), 99)))
    noisy = tuple(
        values + RNG.normal(size=values.shape) * values.std() / 10 for values in reference
    )
    errors = [
        float(np.square((a - b) / b.std()).mean()) for a, b in zip(noisy, reference, strict=True)
    ]
    error = leveled(noisy, reference) - leveled(reference, reference)
    assert float(np.square(error).mean()) == pytest.approx(np.mean(errors), rel=1e-5)
    np.testing.assert_array_equal(leveled(noisy[0], reference[0]), noisy[0])


def both(library: Any) -> Any:
    """Two inputs, two outputs."""
    image, features, x = trunk(library)
    outputs = [library.layers.Dense(n, name=name)(x) for n, name in ((3, "class"), (4, "box"))]
    return settle(library.Model([image, features], outputs))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, as it saves a folder
@pytest.mark.parametrize(
    ("library", "file", "names"),
    [
        (keras, "m.keras", ("class", "box")),
        (keras, "m.h5", ("class", "box")),
        (keras, "m", ("output_0", "output_1")),
        (tf_keras, "m.keras", ("class", "box")),
        (tf_keras, "m", ("class", "box")),
    ],
)
def test_through_each_door(library: Any, file: str, names: tuple[str, ...], tmp_path: Path) -> None:
    model, path = both(library), tmp_path / file
    if path.suffix or library is tf_keras:
        model.save(path)
    else:
        model.export(path, verbose=False)
    expected = dict(zip(names, parts(run(model, (REALS, VALUES))), strict=True))
    loaded = prepared(load_keras(path), None, None)
    graph = rewrite(read_graph(trace(loaded)))
    given: dict[str, Any] = {"image": REALS, "state": VALUES}
    batch = tuple(given[node.name] for node in graph.inputs)
    for found in (run(loaded, batch), run(rebuild(graph), batch)):
        for node, values in zip(graph.outputs, parts(found), strict=True):
            np.testing.assert_allclose(values, expected[node.title], rtol=0, atol=1e-4)
    if path.suffix:
        assert [node.title for node in graph.outputs] == list(names)
        assert [node.name for node in graph.inputs] == ["image", "state"]


def unused() -> Any:
    sources = [keras.Input((3,), name=name) for name in ("left", "right")]
    return keras.Model(sources, L.Dense(2)(sources[0]))


def many() -> Any:
    source = keras.Input((3,), name="source")
    return keras.Model(source, [L.Dense(2)(source) for _ in range(17)])


def sizes() -> Any:
    sources = [keras.Input((None, None, 3), name=name) for name in ("left", "right")]
    return keras.Model(sources, L.Dense(2)(L.GlobalMaxPooling2D()(L.Add()(sources))))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (unused, "the model's input `right` changes nothing in what it gives: leave it out"),
        (many, "expected at most 16 outputs, got 17: join some with a Concatenate layer"),
        (sizes, "expected inputs of fixed sizes, got (None, None, 3) of `left`: give its Input"),
    ],
)
def test_what_is_refused(build: Callable[[], Any], said: str) -> None:
    with pytest.raises(TinsmithError, match=re.escape(said)):
        read_graph(trace(prepared(build(), None, None)))


def test_one_size_is_not_for_several_inputs() -> None:
    with pytest.raises(UsageError, match="--input-shape: the model has 2 inputs"):
        trace(prepared(both(keras), None, None), IMAGE)


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_warnings_about_one_of_the_inputs(library: Any) -> None:
    layers = library.layers
    image, features = library.Input(IMAGE, name="image"), library.Input(FEATURES, name="state")
    norm = layers.BatchNormalization(name="norm")
    x = layers.GlobalAveragePooling2D()(norm(layers.Rescaling(1 / 255)(image)))
    model = library.Model([image, features], [layers.Concatenate()([x, features]), x])
    gamma, beta, mean, variance = norm.get_weights()
    norm.set_weights([gamma, beta, mean, variance * 1e5])
    ready, batch = prepared(model, None, None), (REALS, VALUES)
    graph = read_graph(trace(ready))
    scaled, other = input_warnings(ready, graph, batch, run(ready, batch), None)
    assert scaled.startswith("the model begins at input `image` with a scaling by 0.00392")
    assert other.startswith("layer `norm` was trained on values whose variance is")
    batch = (255 * REALS, VALUES)
    assert len(list(input_warnings(ready, graph, batch, run(ready, batch), None))) == 1


SHAPES = {"image": IMAGE, "state": FEATURES}
FUNCTIONS = """
import numpy as np
A = np.arange(40 * 192, dtype="uint8").reshape(40, 8, 8, 3)
B = np.random.default_rng(0).normal(size=(40, 4))
Y = np.arange(40) % 3
def tuples(): return ((A[i:i + 8], B[i:i + 8]) for i in range(0, 40, 8))
def dicts(): return ({"state": B[i:i + 8], "image": A[i:i + 8]} for i in range(0, 40, 8))
def one(): return {"state": B, "image": A}
def labelled(): return [((A, B), Y)]
def named(): return [({"state": B, "image": A}, Y)]
def array(): return A
def three(): return [(A, B, B)]
def other(): return [{"image": A, "b": B}]
def uneven(): return [(A, B[:9])]
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "several_inputs.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "several_inputs", raising=False)  # of another test's folder


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("function", ["tuples", "dicts", "one", "labelled", "named"])
def test_a_function(function: str) -> None:
    samples = from_calibration(f"several_inputs:{function}", SHAPES, 0)
    for batch, size in ((samples.calibration, 32), (samples.evaluation, 8)):
        assert [(a.dtype, a.shape) for a in parts(batch)] == [
            (np.dtype(np.uint8), (size, *IMAGE)),
            (np.dtype(np.float32), (size, *FEATURES)),
        ]
    assert (samples.evaluation_labels is not None) == (function in ("labelled", "named"))


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("several_inputs:array", "expected batches of 2 inputs, a dict by name (image, state) or"),
        ("several_inputs:three", "a tuple in that order, got 3 arrays"),
        ("several_inputs:other", "a tuple in that order, got a dict of image, b"),
        ("several_inputs:uneven", "expected as many of each input, got 40 of image, 9 of state"),
        ("digits", "digits gives one input, the model has 2 (image, state): give FILE.npz"),
        ("FOLDER", "gives one input, the model has 2 (image, state): give FILE.npz"),
        ("a.npz", "an array for each input of the model (image, state), no state; got image, x"),
        ("b.npz", "b: expected as many of each input, got 80 of image, 79 of state"),
    ],
)
def test_no_inputs_for_several(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", image=PIXELS, x=VALUES)
    np.savez("b.npz", image=PIXELS, state=VALUES[:-1])
    with pytest.raises(UsageError, match=re.escape(said)):
        from_calibration(source.replace("FOLDER", str(tmp_path)), SHAPES, 0)


def test_samples_that_do_not_fit(tmp_path: Path) -> None:
    samples = Samples("mine", "0" * 64, (PIXELS, VALUES[:, :3]), None, (PIXELS, VALUES), None, ())
    with pytest.raises(
        UsageError, match=r"takes inputs of shape \(4,\), `state` of mine has \(3,\)"
    ):
        compile_model(both(keras), samples, tmp_path / "a.tin", ANYTHING)
    uneven = Samples("mine", "0" * 64, (PIXELS, VALUES[:9]), None, (PIXELS, VALUES), None, ())
    with pytest.raises(UsageError, match="mine: expected as many of each input, got 80, 9"):
        compile_model(both(keras), uneven, tmp_path / "a.tin", ANYTHING)
    told = Samples("mine", "0" * 64, (PIXELS, VALUES), None, (PIXELS, VALUES), np.arange(80), ())
    with pytest.raises(UsageError, match=r"2 outputs \(class, box\), labels are for one: give"):
        compile_model(both(keras), told, tmp_path / "a.tin", ANYTHING)
    alone = Samples("mine", "0" * 64, PIXELS, None, PIXELS, None, ())
    with pytest.raises(UsageError, match=r"has 2 inputs \(image, state\), mine gives 1"):
        compile_model(both(keras), alone, tmp_path / "a.tin", ANYTHING)
    assert list(tmp_path.iterdir()) == []
