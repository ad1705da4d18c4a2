"""What quantizing each layer costs, layers kept float, and where a difference enters."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from compiling import (
    Compiled,
    compiled,
    int8_files,
    model_file,
    random_inputs,
    settle,
    spoiled_classifier,
)
from narrow import array, some

from tinsmith_export import Options, Progress, Samples, compile_model
from tinsmith_export.errors import ConversionError, GateError
from tinsmith_export.frontend.predict import run
from tinsmith_export.ir import ops
from tinsmith_export.metrics import agreement, parity
from tinsmith_export.quantize.alone import costs_alone
from tinsmith_export.quantize.evaluation import with_rounded_weights
from tinsmith_export.quantize.kept import require_layers
from tinsmith_export.quantize.qat import DistillationData
from tinsmith_export.quantize.recipe import quantize
from tinsmith_export.quantize.rounding import Rounding
from tinsmith_export.quantize.sensitivity import COUNT, keep_fewest, measure
from tinsmith_export.reference.rebuild import rebuild
from tinsmith_export.targets.lower import lower
from tinsmith_export.targets.onnx import integer_writer
from tinsmith_export.targets.onnx.kernels import require_integer_kernels
from tinsmith_export.targets.onnx.target import OnnxTarget
from tinsmith_export.targets.target import IntegerModel
from tinsmith_export.verify.engines import run_batches
from tinsmith_export.verify.gates import choice_failures
from tinsmith_export.verify.golden import nudged
from tinsmith_export.verify.parity import first_difference
from tinsmith_report.statistics import decibels, sqnr_db
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import UsageError

L = keras.layers
FORMS = ("tflite", "onnx")
LAYERS = ("conv1", "depth", "conv2", "hidden", "answer")


def silent(layer: int, layers: int) -> None:
    pass


def outputs(files: dict[str, bytes], codes: np.ndarray) -> list[np.ndarray]:
    return [
        array(run_batches(create_backend(engine, files[f"model.int8.{form}"], 1), codes))
        for engine, form in (("litert", "tflite"), ("onnx", "onnx"))
    ]


KEPT = ("depth", "conv2", "answer")


@pytest.fixture(scope="module")
def mixed(converted: Compiled) -> IntegerModel:
    """The CNN with three layers float, one of each kind."""
    quantized = converted.quantized.keeping(KEPT)
    return lower(quantized, converted.entry.sources, tuple("abcde"), True)


def test_layers_kept_float_are_float_in_both_engines(
    converted: Compiled, mixed: IntegerModel
) -> None:
    files = int8_files(mixed)
    for product in mixed.products.values():
        assert product.integer == (product.layer not in KEPT)
        if product.layer in KEPT:
            node = converted.quantized.graph.node(product.layer)
            assert isinstance(node, ops.Weighted)
            kernel = node.channel_kernel
            np.testing.assert_array_equal(np.sort(product.weights.ravel()), np.sort(kernel.ravel()))
    for name, data in files.items():
        target = model_file(name, data).target
        kernels = target.integer_kernels(data, len(LAYERS), KEPT)
        assert sum(kernels.values()) == len(LAYERS) - len(KEPT)
        for kept, problem in ((KEPT[1:], "still multiplies in float"), (LAYERS, "rounds layers")):
            with pytest.raises(ConversionError, match=f"{problem}.*"):
                target.integer_kernels(data, len(LAYERS), kept)
    tflite, onnx_codes = outputs(files, array(converted.codes))
    found = parity(tflite, onnx_codes, True)
    assert found.equal >= 0.995 * found.compared
    # A code on the edge may flip in a float layer; it is 1 LSB there, and here.
    assert found.max_difference_lsb <= 1
    model = converted.quantized.keeping(KEPT).model
    rounded = run(model, converted.entry.reals(converted.inputs))
    expected = np.round(array(rounded) / mixed.outputs[0].scale) + mixed.outputs[0].zero_point
    assert (np.abs(tflite - expected) <= 1).mean() >= 0.99


def test_golden_vectors_survive_another_order_of_float_sums(
    converted: Compiled, mixed: IntegerModel
) -> None:
    assert list(nudged(converted.integers)) == []
    files = int8_files(mixed)
    exact = outputs(files, array(converted.codes))[1]
    for model in nudged(mixed):
        other = int8_files(model)
        found = outputs(other, array(converted.codes))[1]
        same = (found == exact).all(axis=1).mean()
        assert other["model.int8.onnx"] != files["model.int8.onnx"]
        assert same > 0.5  # enough to choose from


def test_onnx_runtime_would_round_float_weights_by_itself(
    mixed: IntegerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integer_writer.IntegerWriter, "_unchanged", lambda self, tensor: tensor)
    data = OnnxTarget().emit(mixed)
    # `depth` and `conv2` follow each other, with float between them.
    with pytest.raises(ConversionError, match=r"rounds layers kept float: answer$"):
        require_integer_kernels(data, len(LAYERS), KEPT)


def test_a_float_layer_that_nobody_asked_for_fails_by_name(mixed: IntegerModel) -> None:
    with pytest.raises(ConversionError, match=r"still multiplies in float: .*conv2"):
        require_integer_kernels(OnnxTarget().emit(mixed), len(LAYERS), ["depth", "answer"])


@pytest.mark.parametrize("outputs_too", [False, True])
def test_one_layer_is_rounded_alone(converted: Compiled, outputs_too: bool) -> None:
    graph, ranges = converted.quantized.exact, converted.quantized.ranges
    reals = converted.entry.reals(converted.inputs[:64])
    coarse = with_rounded_weights(graph, ranges, converted.quantized.weight_bits)
    heard: list[tuple[int, int]] = []
    ear = lambda *step: heard.append(step)  # noqa: E731
    rounded = ranges if outputs_too else {}
    costs = costs_alone(graph, coarse, rounded, LAYERS, reals, True, ear)
    exact = array(run(rebuild(graph), reals))
    for name in ("depth", "answer"):
        cost = costs[name]

        def wrap(node: ops.Node, layer: Any, name: str = name) -> Any:
            rounding = Rounding(ranges[node.name])
            return (lambda x: rounding(layer(x))) if outputs_too and node.name == name else layer

        found = array(run(rebuild(graph.replaced(coarse.node(name)), wrap), reals))
        # The layer itself is computed in batches of another size, in another order.
        assert decibels(cost.signal, cost.noise) == pytest.approx(sqnr_db(exact, found), abs=1e-3)
        assert cost.changed_pp == 100 * (1 - agreement(exact, found))
    assert heard == [(done, len(LAYERS)) for done in range(1, len(LAYERS) + 1)]


@pytest.fixture(scope="module")
def spoiled() -> tuple[Compiled, DistillationData]:
    """`coarse` has a huge weight for a channel that is always 0: rounding loses all the others."""

    def spoil(dead: Any, coarse: Any) -> None:
        kernel, bias = dead.get_weights()
        bias[0] = -100
        dead.set_weights([kernel, bias])
        kernel, bias = coarse.get_weights()
        kernel[1, 1, 0] = 200
        coarse.set_weights([kernel, bias])

    return spoiled_classifier(("dead", "coarse", "fine"), spoil)


def test_sensitivity_finds_the_layer(spoiled: tuple[Compiled, DistillationData]) -> None:
    made, data = spoiled
    heard = []
    rows = measure(made.quantized, data, True, lambda *step: heard.append(step))
    assert heard[-1] == (len(rows), len(rows))
    assert [row.layer for row in rows] == [node.name for node in made.quantized.graph.requantized]
    assert min(rows, key=lambda row: some(row.alone_sqnr_db)).layer == "coarse"
    assert max(rows, key=lambda row: some(row.alone_drop_pp)).layer == "coarse"
    first, last = rows[0], rows[-1]
    assert first.clipped == 0.0  # these inputs are those of the calibration
    assert first.output_range[0] == 0.0
    # The last layer's output is the model's: what the whole fake-quantized model gives.
    found = run(made.quantized.model, data.inputs[:COUNT])
    assert last.sqnr_db == pytest.approx(
        sqnr_db(array(data.outputs[:COUNT]), array(found)), abs=1e-3
    )


def test_sensitivity_sees_what_a_range_clips(spoiled: tuple[Compiled, DistillationData]) -> None:
    made, data = spoiled
    twice = DistillationData(2 * data.inputs, data.outputs, None, True)
    rows = measure(made.quantized, twice, False, silent)
    span = made.quantized.ranges["fine"]
    exact = rebuild(made.quantized.exact)
    probe = type(exact)(exact.input, exact.get_layer("fine").output)
    share = (array(run(probe, array(twice.inputs)[:COUNT])) > span.high + span.scale / 2).mean()
    assert 0 < share < 1
    assert next(row for row in rows if row.layer == "fine").clipped == pytest.approx(share)
    assert rows[0].alone_sqnr_db is None


def test_the_fewest_layers_are_kept_float(spoiled: tuple[Compiled, DistillationData]) -> None:
    made, data = spoiled
    before = 1 - agreement(array(data.outputs), array(run(made.quantized.model, data.inputs)))
    assert before > 0.2
    same, verdict = keep_fewest(made.quantized, data, Options(max_changed_pp=100), silent)
    assert same is made.quantized
    assert verdict.outcome == "pass"
    kept, verdict = keep_fewest(made.quantized, data, Options(max_changed_pp=5), silent)
    assert [node.name for node in kept.kept] == ["coarse"]
    assert (verdict.count, verdict.labels) == (400, False)
    assert verdict.loss_pp <= 5
    assert 1 - agreement(array(data.outputs), array(run(kept.model, data.inputs))) <= 0.05
    assert not choice_failures(verdict)


def test_where_no_float_weights_are_enough_the_verdict_says_so(
    spoiled: tuple[Compiled, DistillationData],
) -> None:
    made, data = spoiled
    labels = array(data.outputs).argmax(axis=1)
    none_lost = replace(data, labels=labels)  # float has all right: none can be won
    kept, verdict = keep_fewest(made.quantized, none_lost, Options(max_drop_pp=-5), silent)
    assert "coarse" in [node.name for node in kept.kept]  # as near as it comes
    assert verdict.outcome == "fail"
    (failure,) = choice_failures(verdict)
    assert "no layers that are enough, on inputs held back: " in failure
    assert re.search(r"; of 400 answers \d+ lost, 0 won\), more than --max-drop-pp -5$", failure)


def altered(data: bytes, layer: str) -> bytes:
    """An int8 ONNX file with other weights in a layer."""
    model = onnx.load_from_string(data)
    (tensor,) = (t for t in model.graph.initializer if t.name == f"{layer}.weight")
    weights = onnx.numpy_helper.to_array(tensor).copy()
    weights.flat[::3] //= 2
    tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("layer", LAYERS)
def test_where_a_difference_enters(converted: Compiled, layer: str) -> None:
    files = {**converted.files}
    files["model.int8.onnx"] = altered(files["model.int8.onnx"], layer)
    good, bad = (model_file(f"model.int8.{form}", files[f"model.int8.{form}"]) for form in FORMS)
    tflite, onnx_codes = outputs(files, array(converted.codes))
    differ = (tflite != onnx_codes).any(axis=1)
    name, lsb = first_difference(good, bad, converted.quantized.graph, converted.codes, differ)
    assert name == layer
    assert lsb is not None
    assert lsb > 1
    none = np.zeros_like(differ)
    assert first_difference(good, bad, converted.quantized.graph, converted.codes, none) == (
        None,
        None,
    )


def test_where_a_difference_enters_an_image_as_wide_as_it_is_deep() -> None:
    """Its channels cannot be told from its rows by their number."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            L.Conv2D(8, 3, padding="same", name="same"),
            L.Flatten(),
            L.Dense(4, name="answer"),
        ]
    )
    small = compiled(settle(model))
    graph = small.quantized.graph
    every = np.ones(len(small.codes), np.bool_)
    good = model_file("model.int8.tflite", small.files["model.int8.tflite"])
    bad = model_file("model.int8.onnx", altered(small.files["model.int8.onnx"], "answer"))
    name, _ = first_difference(good, bad, graph, small.codes, every)
    assert name == "answer"


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Pixels without labels, as few as will do."""
    return Samples(
        "random",
        "0" * 64,
        random_inputs((8, 8, 1), 300),
        None,
        random_inputs((8, 8, 1), 100, seed=2),
        None,
        (),
    )


@pytest.fixture(scope="module")
def small() -> keras.Model:
    source = keras.Input((8, 8, 1))
    x = L.SeparableConv2D(6, 3, activation="relu", name="first")(source)
    answer = L.Dense(4, activation="softmax", name="answer")(L.Flatten()(x))
    return settle(keras.Model(source, answer))


def test_the_gate_says_where_a_difference_enters(
    small: keras.Model, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = OnnxTarget.emit
    spoiled = lambda self, model: altered(emit(self, model), "first")  # noqa: E731
    monkeypatch.setattr(OnnxTarget, "emit", spoiled)
    options = Options(recipe="ptq", max_drop_pp=100.0, max_changed_pp=100.0)
    with pytest.raises(GateError, match=r"differ by \d+ LSB, more than 1, from layer `first"):
        compile_model(small, samples, tmp_path / "a.tin", options)
    assert not list(tmp_path.iterdir())


def test_options_of_layers(small: keras.Model, samples: Samples, tmp_path: Path) -> None:
    heard = []

    class Ear(Progress):
        def layer(self, layer: int, layers: int) -> None:
            heard.append((layer, layers))

    out = tmp_path / "a.tin"
    options = Options(
        recipe="ptq",
        max_drop_pp=100.0,
        max_changed_pp=100.0,
        keep_float=("first", "auto"),
        sensitivity=True,
    )
    exported = compile_model(small, samples, out, options, Ear())
    bits = {layer.name: layer.weight_bits for layer in exported.manifest.layers}
    # The separable convolution became two layers; both are kept.
    assert [bits[name] for name in bits if name.startswith("first")] == [32, 32]
    assert bits["answer"] in (7, 8)
    assert heard
    assert exported.sensitivities
    assert all(row.alone_sqnr_db for row in exported.sensitivities)


def test_a_name_of_no_layer_is_told_before_anything_is_calibrated(
    small: keras.Model, samples: Samples, tmp_path: Path
) -> None:
    stages = []

    class Ear(Progress):
        def stage(self, text: str) -> None:
            stages.append(text)

    options = Options(recipe="ptq", keep_float=("answer", "nope"))
    with pytest.raises(UsageError, match=r"--keep-float nope: .*auto or one of first.*answer"):
        compile_model(small, samples, tmp_path / "a.tin", options, Ear())
    values = keras.Model(small.input, small.get_layer("first").output)
    with pytest.raises(UsageError, match="--keep-float auto needs outputs of classes"):
        compile_model(values, samples, tmp_path / "a.tin", Options(keep_float=("auto",)), Ear())
    assert [stage.split()[0] for stage in stages] == ["reading", "reading"]


def test_a_layer_that_only_requantizes_can_be_kept_float() -> None:
    """Its name is known after calibration: what cannot be is refused before, what may be is not."""
    source = keras.Input((8, 8, 2))
    one = L.Conv2D(2, 3, padding="same", activation="relu", name="one")(source)
    both = L.Concatenate(name="both")([one, source])
    model = settle(keras.Model(source, L.Dense(4, name="answer")(L.Flatten()(both))))
    made = compiled(model)
    quantized = quantize(made.graph, made.quantized.calibration, ("both",))
    assert [node.name for node in quantized.kept] == ["both/input", "both/input1"]
    for name in ("both", "both/input1", "one"):
        require_layers(made.graph, [name])
    for name in ("bot", "both/inner", "one/input", "flatten"):
        with pytest.raises(UsageError, match=f"--keep-float {name}: no such layer with weights"):
            require_layers(made.graph, [name])


def test_the_command(
    small: keras.Model, samples: Samples, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, data = tmp_path / "small.keras", tmp_path / "x.npz"
    small.save(model)
    np.savez(data, x_train=samples.calibration, x_test=samples.evaluation)
    words = ["export", str(model), "--data", str(data), "--recipe", "ptq"]
    words += ["--max-drop-pp", "100", "--max-changed-pp", "100", "--quiet"]
    assert main([*words, "--sensitivity"]) == 0
    table = capfd.readouterr().out.splitlines()
    assert table[0].split()[:2] == ["layer", "bits"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.keras", "x.npz"]
    assert main([*words, "--sensitivity", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)["sensitivity"]
    assert [row["layer"] for row in rows] == [line.split()[0] for line in table[1 : len(rows) + 1]]
    out, page = tmp_path / "a.tin", tmp_path / "a.html"
    layer = ["--keep-float", "answer"]
    assert main([*words, *layer, "--out", str(out), "--report", str(page)]) == 0
    said = capfd.readouterr().out
    assert "float    answer" in said
    assert "integer in every layer but 1" in said
    assert max(map(len, [*said.splitlines(), *table])) <= 100
    text = page.read_text()
    assert text.count("<svg") == 4
    assert "Kept float, weights not rounded: answer" in text
    # Nothing is fetched: the only addresses are names of XML.
    assert "src=" not in text
    assert "<link" not in text
    assert main(["inspect", str(out)]) == 0
    assert "float     answer: weights not rounded" in capfd.readouterr().out
    assert main(["selftest", str(out)]) == 0
    assert main([*words, "--report", str(tmp_path / "no" / "a.html")]) == 2
    assert "a.html: cannot be written" in capfd.readouterr().err
