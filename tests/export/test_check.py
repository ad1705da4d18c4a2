"""`tinsmith check`: what it says of a model before an export is what the export then gives."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from compiling import Compiled, compiled, settle
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export import check
from tinsmith_export.ir.normalization import Normalization
from tinsmith_export.ir.ops import Reshape
from tinsmith_export.options import Options
from tinsmith_export.pipeline.checking import check_model
from tinsmith_export.targets.native.plan import read_plan
from tinsmith_export.targets.onnx.session import optimized_model
from tinsmith_export.targets.registry import TARGETS
from tinsmith_export.targets.target import Estimate, output_layers
from tinsmith_export.targets.tflite.convert import layer_of, operator_name
from tinsmith_export.targets.unmeasured import unmeasured
from tinsmith_runtime.cli import main

# What stands around an operator that computes.
AROUND = ("DEQUANTIZE", "QUANTIZE", "RESHAPE", "DequantizeLinear", "QuantizeLinear", "Transpose")


def images() -> Any:
    """A model with the operators of images."""
    layers = keras.layers
    source = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="first")(source)
    x = layers.Activation("tanh", name="tanh")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="larger")(x)
    x = layers.Activation("gelu", name="gelu")(layers.Cropping2D(4, name="crop")(x))
    x = layers.LayerNormalization(name="normal")(x)
    x = layers.GroupNormalization(2, name="groups")(x)
    x = layers.AveragePooling2D(3, 1, padding="same", name="average")(x)
    x = layers.PReLU(shared_axes=[1, 2], name="slope")(x)
    x = layers.ZeroPadding2D(1, name="pad")(layers.Activation("elu", name="elu")(x))
    x = layers.MaxPooling2D(2, name="pool")(x)
    parts = [layers.Conv2D(4, 1, name=f"part{i}")(x) for i in range(4)]
    x = layers.Concatenate(name="joined")([layers.Maximum(name="larger_of")(parts[:2]), parts[2]])
    y = layers.Multiply(name="product")(
        [layers.Activation("softplus", name="softplus")(parts[3]), parts[3]]
    )
    x = layers.Add(name="sum")([layers.Conv2D(4, 1, name="last_conv")(x), y])
    x = layers.Flatten()(layers.UpSampling2D(2, name="twice")(x))
    return keras.Model(source, layers.Dense(3, activation="softmax", name="answer")(x))


def sequences() -> Any:
    """A model with the operators of attention, and with every function."""
    layers, ops = keras.layers, keras.ops
    source = keras.Input((6, 8))
    x = layers.Conv1D(8, 3, padding="same", name="first")(source)
    x = layers.MultiHeadAttention(2, 4, name="heads")(x, x)
    x = layers.Minimum(name="smaller_of")([x, layers.Dense(8, name="other")(x)])
    x = ops.take(layers.Permute((2, 1), name="turned")(x), [3, 0, 5, 1], axis=2)
    parts = []
    for name in ("selu", "softsign", "exponential", "sigmoid", "relu", "elu"):
        product = layers.Dense(4, name=f"of_{name}")(x)
        settings = {"relu": {"threshold": 0.3}, "elu": {"alpha": 0.5}}
        if name in settings:
            layer = {"relu": layers.ReLU, "elu": layers.ELU}[name](**settings[name], name=name)
        else:
            layer = layers.Activation(name, name=name)
        parts.append(layer(product))
    for function in (ops.log, ops.sqrt, ops.rsqrt, ops.reciprocal):
        name = function.__name__
        above = layers.Dense(4, activation="softplus", name=f"of_{name}")(x)
        parts.append(function(above + 0.5))
    parts = [layers.Dense(4, name=f"part{i}")(part) for i, part in enumerate(parts)]
    joined = layers.Concatenate(name="joined")(parts)[:, 1:5:2]
    return keras.Model(source, layers.Dense(3, name="answer")(layers.Flatten()(joined)))


def words() -> Any:
    """A model with a table that numbers are looked up in."""
    layers = keras.layers
    source = keras.Input((12,), dtype="int32")
    x = layers.Conv1D(6, 3, name="first")(layers.Embedding(300, 8, name="table")(source))
    return keras.Model(source, layers.Dense(3, name="answer")(layers.Flatten()(x)))


def steps() -> Any:
    """A model whose steps share their weights, and requantize the state."""
    layers = keras.layers
    source = keras.Input((4, 3))
    return keras.Model(
        source, layers.Dense(3, name="answer")(layers.LSTM(16, name="memory")(source))
    )


@pytest.fixture(scope="module", params=[images, sequences, words, steps])
def made(request: pytest.FixtureRequest) -> Compiled:
    """Between them they have an operator of every class that a rewritten graph has."""
    numbers = np.random.default_rng(0).integers(0, 300, (32, 12), np.int32)
    inputs = numbers if request.param is words else None
    return compiled(settle(request.param()), count=32, inputs=inputs, floats=True)


@pytest.fixture(scope="module")
def estimates(made: Compiled) -> dict[str, Estimate]:
    model = unmeasured(made.graph)
    return {
        target.name: found for target in TARGETS if (found := target.estimate(model, made.graph))
    }


def forms(found: Estimate) -> dict[str, Counter[str]]:
    return {
        name: counted
        for name, form in found.forms.items()
        if (counted := Counter(one for one in form.operators if one not in AROUND))
    }


def in_float(found: Estimate) -> set[str]:
    return {name for name, form in found.forms.items() if not form.integer}


def test_the_export_adds_what_was_said(made: Compiled) -> None:
    """So the layers of both can be compared one by one."""
    names = [node.name for node in unmeasured(made.graph).graph.nodes]
    assert [node.name for node in made.quantized.graph.nodes] == names


def test_tflite_is_what_was_said(made: Compiled, estimates: dict[str, Estimate]) -> None:
    data = made.files["model.int8.tflite"]
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (graph,) = model.subgraphs
    layers, owners = (
        {node.name: node for node in made.quantized.graph.layers},
        output_layers(made.quantized.graph),
    )
    operators: dict[str, Counter[str]] = {}
    floats = set()
    for operator in graph.operators:
        tensor, kind = graph.tensors[operator.outputs[0]], operator_name(model, operator)
        if kind in AROUND:
            continue
        name = tensor.name.decode()
        first = layer_of(name.partition(";")[0])  # what a movement reads may follow it
        moved = first in layers and layers[first].moves_codes
        layer = owners.get(name) or (first if moved else layer_of(name))
        while layer not in layers:
            layer = layer.rpartition("/")[0]
            assert layer, f"{name} is of no layer"
        operators.setdefault(layer, Counter())[kind] += 1
        if tensor.type == schema.TensorType.FLOAT32:
            floats.add(layer)
    assert operators == forms(estimates["tflite"])
    assert floats == in_float(estimates["tflite"])


def test_onnx_is_what_was_said(made: Compiled, estimates: dict[str, Estimate]) -> None:
    data = made.files["model.int8.onnx"]
    owners = output_layers(made.quantized.graph)
    operators: dict[str, Counter[str]] = {}
    for call in onnx.load_from_string(data).graph.node:
        if call.op_type not in (*AROUND, "Reshape"):
            layer = owners.get(call.output[0]) or call.output[0].rpartition(".")[0]
            operators.setdefault(layer, Counter())[call.op_type] += 1
    assert operators == forms(estimates["onnx"])
    graph = onnx.load_from_string(optimized_model(data)).graph
    reals = {name for call in graph.node for name in call.output if "Dequantize" in call.op_type}
    readers = [call for call in graph.node if reals.intersection(call.input)]
    names = {call.output[0].removeprefix(f"{call.op_type}/") for call in readers}
    assert {name.rpartition(".")[0] for name in names} == in_float(estimates["onnx"])


def test_the_plan_is_what_was_said(made: Compiled, estimates: dict[str, Estimate]) -> None:
    data = made.files["model.int8.plan"]
    plan = read_plan(data)
    operators = {
        plan.tensors[one.output].name: Counter([one.kind.name.lower()]) for one in plan.operators
    }
    assert operators == forms(estimates["native"])
    normal = {node.name for node in made.quantized.graph.layers if isinstance(node, Normalization)}
    assert in_float(estimates["native"]) == normal
    assert estimates["native"].arena_bytes == plan.arena_bytes
    # Equal constants are written once, and what nobody has measured yet has equal scales.
    assert 0.95 * len(data) < estimates["native"].int8_bytes < 1.01 * len(data)


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_files_are_about_as_large(
    name: str, made: Compiled, converted: Compiled, estimates: dict[str, Estimate]
) -> None:
    (target,) = (one for one in TARGETS if one.name == name)
    other = target.estimate(unmeasured(converted.graph), converted.graph)
    assert other is not None
    for files, found in ((made.files, estimates[name]), (converted.files, other)):
        # An eighth: names are longer or shorter. In a large model the weights are all but all.
        for precision, size in (("int8", found.int8_bytes), ("float", found.float_bytes)):
            assert size == pytest.approx(len(files[f"model.{precision}.{name}"]), rel=1 / 8)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    layers = keras.layers
    hidden = layers.Dense(5, activation="softplus", name="hidden")
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, use_bias=False, name="first"),
            layers.BatchNormalization(name="normal"),
            layers.DepthwiseConv2D(3, name="depth"),
            layers.Flatten(name="flat"),
            hidden,
            layers.Dense(3, activation="softmax", name="answer"),
        ]
    )
    settle(model).save(tmp_path / "small.keras")
    return tmp_path / "small.keras"


def test_as_json(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(small), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["refused"] == []
    rows = {row["layer"]: row for row in found["layers"]}
    assert list(rows) == ["first", "normal", "depth", "flat", "hidden", "answer"]
    assert [row["kind"] for row in rows.values()][:3] == [
        *("Conv2D", "BatchNormalization", "DepthwiseConv2D"),
    ]
    # Kernel times places; the batch normalization gives the convolution its bias.
    assert (rows["first"]["macs"], rows["first"]["weights"]) == (3 * 3 * 2 * 4 * 16, 72 + 4)
    assert (rows["depth"]["macs"], rows["depth"]["weights"]) == (3 * 3 * 4 * 4, 36 + 4)
    assert (rows["hidden"]["macs"], rows["hidden"]["weights"]) == (16 * 5, 80 + 5)
    assert found["macs"] == sum(row["macs"] for row in rows.values())
    assert found["weights"] == sum(row["weights"] for row in rows.values())
    assert rows["normal"]["becomes"] == {"tflite": [], "onnx": [], "native": []}
    assert rows["first"]["becomes"] == {
        "tflite": ["CONV_2D"],
        "onnx": ["Conv"],
        "native": ["product"],
    }
    assert rows["hidden"]["in_float"] == ["tflite", "onnx"]
    assert [target["name"] for target in found["targets"]] == ["tflite", "onnx", "native"]
    assert [target["float_bytes"] is None for target in found["targets"]] == [False, False, True]
    assert found["targets"][2]["arena_bytes"] % 64 == 0


# The inputs of a recurrent layer are multiplied by 1, and three of its states are requantized.
@pytest.mark.parametrize(("build", "added"), [(words, 0), (steps, 3 + 3 * 16)])
def test_tables_and_shared_weights_are_counted_once(build: Callable[[], Any], added: int) -> None:
    model = build()
    found = check_model(model, Options())
    layer = next(one for one in found.layers if one.layer in ("table", "memory"))
    assert layer.weights - added == model.get_layer(layer.layer).count_params()


def test_as_a_table(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(small), "--targets", "tflite,native"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layer", "class", "MACs", "weights", "TFLite", "native"]
    assert lines[1].split() == ["first", "Conv2D", "1,152", "76", "CONV_2D", "product"]
    assert lines[2].split() == ["normal", "BatchNormalization", "0", "0", "folded", "folded"]
    total = "total    1,391 multiply-accumulates, 219 weights and biases; 231 parameters in Keras"
    assert total in lines
    assert lines[-1].startswith("float    computed in float between two roundings")
    assert any(line.startswith("file     native   int8 about ") for line in lines)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own, as it saves a folder
def test_a_folder_is_checked_as_its_file_is(small: Path, tmp_path: Path) -> None:
    keras.models.load_model(small).export(tmp_path / "folder", verbose=False)
    assert check(tmp_path / "folder").macs == check(small).macs


def test_the_range_of_pixels_counts(small: Path) -> None:
    """No pixel stands for zero here; it is folded into a convolution without padding."""
    plain, scaled = check(small), check(small, Options(input_range=(-1.0, 1.0)))
    assert plain.layers == scaled.layers


def test_nothing_is_converted_and_no_engine_starts(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("an engine or a converter")

    monkeypatch.setattr("tensorflow.lite.TFLiteConverter.from_concrete_functions", fail)
    monkeypatch.setattr("onnxruntime.InferenceSession.__init__", fail)
    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter.__init__", fail)
    assert len(check(small).targets) == 3


@pytest.mark.slow
def test_nothing_is_imported_that_takes_long_and_is_not_needed(small: Path) -> None:
    """Together they take three seconds, of fifteen for EfficientNetB0."""
    code = (
        "import gc, sys\n"
        "from tinsmith_runtime.cli import main\n"
        f"assert main(['check', {str(small)!r}]) == 0\n"
        "slow = {'matplotlib', 'sklearn', 'tensorflow_model_optimization'}\n"
        "assert slow.isdisjoint(sys.modules), slow.intersection(sys.modules)\n"
        "assert gc.isenabled()\n"
        "import matplotlib, sklearn\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    def saved(shape: tuple[int, ...], *layers: Any) -> str:
        keras.Sequential([keras.Input(shape), *layers]).save(tmp_path / "model.keras")
        return str(tmp_path / "model.keras")

    return saved


def test_all_refusals_are_told(
    save: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    layers = keras.layers
    volumes = [layers.Conv3D(2, 2, name="one"), layers.AveragePooling3D(2, name="two")]
    model = save((4, 4, 4, 1), *volumes, layers.Flatten(), layers.Dense(2))
    assert main(["check", model]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("refused  layer `one` (Conv3D) cannot be compiled")
    assert "\nrefused  layer `two` (AveragePooling3D) cannot be compiled" in said.out
    assert said.err == f"tinsmith: error: {model}: 2 layers cannot be compiled\n"
    assert main(["check", model, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [reason.split("`")[1] for reason in found["refused"]] == ["one", "two"]
    assert found["layers"] == found["targets"] == []


def test_a_file_with_code_is_not_loaded(
    save: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", save((3,), keras.layers.Lambda(lambda x: x, name="code"))]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("refused  layer `code` (Lambda) carries code, which is not run")
    assert said.err.endswith("1 layer cannot be compiled\n")


def test_a_target_that_cannot_hold_it(
    save: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    layers = keras.layers
    deep = layers.Reshape((1, 2, 1, 2, 1, 2, 1), name="deep")
    rest = (layers.Activation("tanh", name="tanh"), layers.Flatten(), layers.Dense(2))
    model = save((8,), deep, *rest)
    assert main(["check", model]) == 0
    assert "refused  native: layer `" in capsys.readouterr().out
    assert main(["check", model, "--targets", "native"]) == 1
    assert capsys.readouterr().err == f"tinsmith: error: {model}: no native file can hold it\n"


def test_misuse(small: Path, save: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["none.keras"], [str(small), "--targets", "plan"], [str(small), "--output", "x"]):
        assert main(["check", *words]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("tinsmith: error: ")
        assert said.err.count("\n") == 1


def test_a_reshape_may_be_a_view(made: Compiled, estimates: dict[str, Estimate]) -> None:
    """An ONNX file has no operator of that name for it; a TFLite file and a plan have."""
    names = {node.name for node in made.quantized.graph.layers if isinstance(node, Reshape)}
    assert names <= estimates["tflite"].forms.keys() & estimates["native"].forms.keys()
    assert names
    assert names.isdisjoint(estimates["onnx"].forms)


@pytest.mark.parametrize("command", ["check", "export"])
@pytest.mark.parametrize("option", ["--mean", "--std"])
def test_a_model_behind_numbers(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command, option, "1", "2", "3", "model.keras"])
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"tinsmith {command}: error: argument {option}: invalid float value: 'model.keras': "
        f"{option} takes all words behind it, so MODEL comes first"
    )
