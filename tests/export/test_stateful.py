"""Recurrent models as one step of a stream: `--stateful`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import called, settle
from layer_cases import BOTH, KERASES
from narrow import array, some
from numpy.typing import NDArray

from tinsmith_data import Dataset
from tinsmith_export import Options, compile_model, export
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.operators import read_graph
from tinsmith_export.frontend.trace import trace
from tinsmith_export.inputs.samples import Samples, made
from tinsmith_export.inputs.sequences import feed
from tinsmith_export.passes.rewrite import rewrite
from tinsmith_export.quantize.evaluation import evaluate
from tinsmith_export.results import Exported, Outcome
from tinsmith_export.verify.gates import state_failures
from tinsmith_runtime import BundleError, InputError, Model, UsageError, load, read_bundle
from tinsmith_runtime.bundle import StateError, dump_manifest, parse_manifest
from tinsmith_runtime.cli.command import main

STEPS, FEATURES, TRAINED_STEPS = 6, 3, 28
Build = Callable[[Any], list[Any]]
BUILDS: dict[str, tuple[Build, dict[str, int]]] = {
    "lstm": (lambda a: [a.LSTM(4, name="m"), a.Dense(3)], {"m.h": 4, "m.c": 4}),
    "gru": (lambda a: [a.GRU(4, return_sequences=True, name="m"), a.Dense(3)], {"m.h": 4}),
    "before": (lambda a: [a.GRU(4, reset_after=False, name="m"), a.Dense(3)], {"m.h": 4}),
    "relu": (lambda a: [a.SimpleRNN(4, activation="relu", name="m"), a.Dense(3)], {"m.h": 4}),
    "answers": (lambda a: [a.SimpleRNN(4, activation="sigmoid", name="m")], {"m.h": 4}),
    "cells": (
        lambda a: [a.RNN([a.LSTMCell(4), a.GRUCell(3)], name="m"), a.Dense(3)],
        {"m.0": 4, "m.1": 4, "m.2": 3},
    ),
    "stacked": (
        lambda a: [
            a.Conv1D(5, 1, activation="relu"),
            a.LSTM(4, return_sequences=True, name="m"),
            a.TimeDistributed(a.Dense(3)),
            a.GRU(4, name="n"),
            a.Dense(3, activation="softmax"),
        ],
        {"m.h": 4, "m.c": 4, "n.h": 4},
    ),
}
REFUSED: dict[str, tuple[Build, str]] = {
    "convolution": (lambda a: [a.Conv1D(4, 3, name="conv"), a.GRU(4)], r"^layer `conv` \(Conv1D\)"),
    "pooling": (
        lambda a: [a.GRU(4, return_sequences=True), a.GlobalMaxPooling1D(name="pool"), a.Dense(3)],
        r"^layer `pool` \(GlobalMaxPooling1D\).*leave it out, or compile without --stateful",
    ),
    "both": (
        lambda a: [a.Bidirectional(a.GRU(4), name="both"), a.Dense(3)],
        r"^layer `both` \(Bidirectional\).*a stream has no end to begin from",
    ),
    "backwards": (
        lambda a: [a.GRU(4, go_backwards=True, name="m"), a.Dense(3)],
        r"^layer `m` \(GRU\).*go_backwards=False",
    ),
    "again": (
        lambda a: [a.GRU(4), a.RepeatVector(5), a.LSTM(3, name="decoder"), a.Dense(3)],
        r"^layer `decoder` \(LSTM\)",
    ),
    "several": (
        lambda a: [
            a.GRU(4, return_sequences=True),
            a.LayerNormalization(axis=1, name="norm"),
            a.GRU(3),
        ],
        r"^layer `norm` \(LayerNormalization\)",
    ),
}


def sequential(version: str, build: Build, steps: int | None = STEPS) -> Any:
    module = KERASES[version]
    layers = build(module.layers)
    return settle(module.Sequential([module.Input((steps, FEATURES)), *layers]))


def sequences(count: int, steps: int = STEPS) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(count, steps, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("name", BUILDS)
def test_step_by_step_it_gives_what_keras_gives(name: str, version: str) -> None:
    build, states = BUILDS[name]
    model = sequential(version, build, None if name == "lstm" else STEPS)
    inputs = sequences(4)
    expected = array(called(model, inputs))
    graph = rewrite(read_graph(trace(model, stateful=True)))
    assert {node.name: node.shape[0] for node in graph.states} == states
    assert all(node.fed_by == f"{node.name}.next" for node in graph.states)
    (answer,) = graph.answers
    found = array(feed(graph, inputs, lambda step: evaluate(graph, step)).answers)
    if answer.activation == "softmax":
        found = np.exp(found) / np.exp(found).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-5)
    np.testing.assert_array_equal(called(model, inputs), expected)  # the model is as it was


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("name", REFUSED)
def test_what_looks_at_several_steps_is_refused_by_name(name: str, version: str) -> None:
    build, said = REFUSED[name]
    with pytest.raises(UnsupportedLayerError, match=said) as caught:
        trace(sequential(version, build), stateful=True)
    assert len(caught.value.reasons) == 1


def test_all_such_layers_are_refused_at_once() -> None:
    module = KERASES["Keras 3"]
    layers, source = module.layers, module.Input((STEPS, FEATURES))
    found = [layers.Conv1D(3, 2, name=f"conv{i}")(source) for i in range(2)]
    model = module.Model(source, layers.GRU(4)(layers.Concatenate()(found)))
    with pytest.raises(UnsupportedLayerError) as caught:
        trace(model, stateful=True)
    assert [reason.split("`")[1] for reason in caught.value.reasons] == ["conv0", "conv1"]


def test_states_that_a_model_computes_are_refused() -> None:
    module = KERASES["Keras 3"]
    layers, source = module.layers, module.Input((STEPS, FEATURES))
    state = layers.Dense(4)(layers.GRU(4, name="first")(source))
    model = module.Model(source, layers.GRU(4, name="second")(source, initial_state=state))
    with pytest.raises(UnsupportedLayerError, match=r"`second` \(GRU\).*a state that the model"):
        trace(model, stateful=True)


def test_models_and_data_that_cannot_be_streams_are_refused(tmp_path: Path) -> None:
    module = KERASES["Keras 3"]
    plain = sequential("Keras 3", lambda a: [a.Dense(3)])
    with pytest.raises(UsageError, match="--stateful: the model has no recurrent layer"):
        trace(plain, stateful=True)
    one, two = module.Input((STEPS, FEATURES)), module.Input((2,))
    memory = module.layers.GRU(4)(one)
    joined = module.Model([one, two], module.layers.Concatenate()([memory, two]))
    with pytest.raises(UsageError, match="--stateful: expected a model of one input, got 2"):
        trace(joined, stateful=True)
    streamed = sequential("Keras 3", lambda a: [a.GRU(4), a.Dense(3)])
    for shape in ((8, FEATURES), (8, STEPS + 1, FEATURES), (8, STEPS, FEATURES, 1)):
        samples = made("others", np.ones(shape, "f4"), np.ones(shape, "f4"), None, ())
        with pytest.raises(UsageError, match=r"others: expected sequences \(N, 6, 3\), got"):
            compile_model(streamed, samples, tmp_path / "out.tin", Options(stateful=True))
    each = sequential("Keras 3", lambda a: [a.GRU(4, return_sequences=True)])
    samples = made("rows", sequences(8), sequences(8), np.arange(8) % 4, ())
    with pytest.raises(UsageError, match="an output for each step, labels are for whole sequences"):
        compile_model(each, samples, tmp_path / "out.tin", Options(stateful=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"keep_float": ("auto",)}, "keep_float: auto chooses by answers to single inputs"),
        ({"verify_onnx": True}, "verify_onnx: it compares whole models"),
        ({"stateful": 1}, "stateful: expected True or False, got 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Options(**{"stateful": True, **more})


def rows_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The rows of images as the steps of sequences."""
    return (images[..., 0] / 255).astype(np.float32)


@pytest.fixture(scope="module", params=[("LSTM", "Keras 3"), ("GRU", "tf_keras")], ids=" ".join)
def trained(
    request: pytest.FixtureRequest, mnist: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Exported, Samples]:
    name, version = request.param
    module = KERASES[version]
    module.utils.set_random_seed(1)
    layers = [getattr(module.layers, name)(20), module.layers.Dense(10, activation="softmax")]
    model = module.Sequential([module.Input((TRAINED_STEPS, 28)), *layers])
    model.compile(module.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    train, labels = rows_of(mnist.x_train[:6000]), mnist.y_train[:6000]
    model.fit(train, labels, batch_size=64, epochs=2, verbose=0)
    folder = tmp_path_factory.mktemp("stateful")
    model.save(folder / "rows.keras")
    evaluation = rows_of(mnist.x_test[:400])
    samples = made("rows", train[:1000], evaluation, mnist.y_test[:400], mnist.labels)
    options = Options(recipe="ptq", stateful=True)
    return export(folder / "rows.keras", samples, folder / "rows.tin", options), samples


@pytest.mark.slow
def test_trained_it_loses_nothing_that_counts(trained: tuple[Exported, Samples]) -> None:
    exported, _ = trained
    quality, manifest = exported.manifest.quality, exported.manifest
    assert some(quality.stages[0].accuracy) > 0.6
    assert {verdict.outcome for verdict in exported.verdicts.values()} <= {
        Outcome.PASS,
        Outcome.UNDECIDED,
    }
    assert some(quality.mcnemar_p) > 0.05
    for target in quality.parity:  # logits and states behind each step
        for parity in (target.evaluation, target.random):
            assert parity.equal == parity.compared
    units = sum(entry.shape[1] or 0 for entry in manifest.states)
    assert quality.parity[0].evaluation.compared == 400 * TRAINED_STEPS * (10 + units)
    assert manifest.format_version == 3
    for error, entry in zip(quality.states, manifest.states, strict=True):
        assert (error.name, error.steps) == (entry.name, TRAINED_STEPS)
        assert some(error.last_sqnr_db) > 18
    assert all(not result.mismatch for result in load(some(exported.bundle)).selftest())


def opened(exported: Exported) -> list[Model]:
    return [load(some(exported.bundle), name) for name in ("litert", "onnx", "native")]


@pytest.mark.slow
def test_engines_agree_over_a_thousand_steps(trained: tuple[Exported, Samples]) -> None:
    streams = [model.stream() for model in opened(trained[0])]
    for step in np.random.default_rng(4).normal(0.3, 0.5, (1000, 28)).astype(np.float32):
        first, *others = [np.r_[s.step(step), *s.states.values()] for s in streams]
        for other in others:
            np.testing.assert_array_equal(other, first)


@pytest.mark.slow
def test_a_stream_is_as_right_as_the_manifest_says(trained: tuple[Exported, Samples]) -> None:
    exported, samples = trained
    model = load(some(exported.bundle), "native")
    stream, right = model.stream(), 0
    for sequence, label in zip(samples.evaluation, some(samples.evaluation_labels), strict=True):
        stream.reset()
        for step in sequence:
            (answer,) = stream.classify(step, top=1)
        right += answer.label == str(label)
    assert stream.steps == TRAINED_STEPS
    assert right / len(samples.evaluation) == pytest.approx(exported.manifest.variants[0].accuracy)


@pytest.mark.slow
def test_streams_keep_their_states_apart(trained: tuple[Exported, Samples]) -> None:
    exported, samples = trained
    model = load(some(exported.bundle), "native")
    one, other = model.stream(), model.stream()
    zero = {entry.name: entry.zero_point for entry in model.manifest.states}
    first, second = array(samples.evaluation)[0, 10:12]
    answer = one.step(first)
    assert {name: set(codes) for name, codes in other.states.items()} == {
        name: {code} for name, code in zero.items()
    }
    np.testing.assert_array_equal(other.step(first), answer)
    assert (one.step(second) != one.step(first)).any()
    one.reset()
    np.testing.assert_array_equal(one.step(first), answer)
    # The same by `predict`, which takes the states as numbers.
    found = model.predict([first[None], *(np.zeros((1, 20), "f4") for _ in zero)])
    np.testing.assert_array_equal(found["logits"][0], answer)
    for wrong in (first[:5], [first], first * np.nan):
        before = one.states
        with pytest.raises(InputError, match="features: "):
            one.step(wrong)
        assert all((one.states[name] == codes).all() for name, codes in before.items())
    with pytest.raises(UsageError, match="classify: the model computes steps of a sequence"):
        model.classify(first)


@pytest.mark.slow
def test_run_takes_a_file_for_a_sequence(
    trained: tuple[Exported, Samples], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported, samples = trained
    files = [tmp_path / "one.npy", tmp_path / "two.csv"]
    np.save(files[0], samples.evaluation[0])
    np.savetxt(files[1], array(samples.evaluation)[1], delimiter=",")
    assert main(["run", str(exported.bundle), *map(str, files), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2 * TRAINED_STEPS
    stream = load(some(exported.bundle)).stream()
    for index, file in enumerate(files):
        stream.reset()
        for step in array(samples.evaluation)[index]:
            (wanted,) = stream.classify(step, top=1)
        last = lines[(index + 1) * TRAINED_STEPS - 1]
        assert last["features"].startswith(str(file))
        assert last["predictions"][0]["label"] == wanted.label
    assert main(["inspect", str(exported.bundle)]) == 0
    said = capsys.readouterr().out
    for entry in exported.manifest.states:
        assert f"{entry.name}: 20 int8 codes of state, those of {entry.fed_by} before" in said
        assert f"state     {entry.name}: SQNR " in said


@pytest.mark.slow
def test_a_manifest_that_feeds_a_state_wrongly_is_refused(
    trained: tuple[Exported, Samples],
) -> None:
    tree = json.loads(dump_manifest(trained[0].manifest))
    assert tree["format_version"] == 3
    bundle = read_bundle(some(trained[0].bundle))
    assert dump_manifest(bundle.manifest) == bundle.files["manifest.json"]
    changes: tuple[tuple[Callable[[Any], Any], str], ...] = (
        (lambda t: t["inputs"][1].update(fed_by="logits"), "inputs: expected states fed by"),
        (lambda t: t["inputs"][1].update(scale=0.5), "inputs: expected states fed by"),
        (lambda t: t["inputs"].reverse(), "inputs, outputs: expected states behind others"),
        (lambda t: t.update(format_version=2), "format_version: expected 3 exactly where"),
        (lambda t: t["inputs"][0].update(fed_by="logits"), "inputs: expected fed_by in states"),
        (lambda t: t["outputs"][-1].update(kind="values"), "inputs: expected states fed by"),
    )
    for change, said in changes:
        changed = json.loads(json.dumps(tree))
        change(changed)
        with pytest.raises(BundleError, match=said):
            parse_manifest(json.dumps(changed).encode())


def test_an_error_that_grows_too_large_fails_the_gate_with_the_figure() -> None:
    errors = (StateError("m.h", 9, 30.0, 9.5), StateError("m.c", 9, None, None))
    assert state_failures(errors) == [
        "the error of state `m.h` grows too large: behind step 9 its SQNR is 9.5 dB, less than 10 "
        "(30.0 dB behind the first)"
    ]


def test_a_model_without_states_has_no_stream() -> None:
    path = Path(__file__).parents[1] / "data" / "tiny.tin"
    with pytest.raises(UsageError, match="stream: the model has no states: export it with"):
        load(path).stream()
