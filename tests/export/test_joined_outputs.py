"""Outputs that join parts of very different ranges: each part has a scale of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from compiling import settle
from hypothesis import given, settings
from hypothesis import strategies as st
from narrow import some
from numpy.typing import NDArray
from PIL import Image

from tinsmith_bench.stats.detection import find_boxes
from tinsmith_export import Exported, Options, Samples, compile_model
from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.moving import Gather, Slice, Transpose
from tinsmith_export.ir.ops import (
    Affine,
    Clip,
    Concatenate,
    Dense,
    InputLayer,
    Node,
    OutputLayer,
    Reshape,
)
from tinsmith_export.passes.parts import cut, joins, part_joined
from tinsmith_runtime import BundleError, load, read_bundle
from tinsmith_runtime.batch import Array, parts
from tinsmith_runtime.bundle import (
    MAX_TENSORS,
    BoxHead,
    BoxLevel,
    Output,
    dump_manifest,
    join,
    keras_outputs,
    parse_manifest,
)
from tinsmith_runtime.bundle.keras_outputs import part_problems
from tinsmith_runtime.cli import main

L = keras.layers
SIDE = 16
RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 256, (80, SIDE, SIDE, 3), np.uint8)
VALUES = RNG.normal(size=(80, 6)).astype(np.float32)
ENGINES = ("litert", "onnx", "native")
ANYTHING = Options(recipe="ptq", max_changed_pp=100.0)


class Drawn:
    """A graph of dense layers whose outputs are joined and moved about at random."""

    def __init__(self, draw: Any) -> None:
        self._draw, self.nodes = draw, list[Node]([InputLayer("input", (), (3,))])

    def add(self, kind: type[Node], inputs: tuple[str, ...], shape: Any, **more: Any) -> str:
        name = f"{kind.__name__.lower()}{len(self.nodes)}"
        self.nodes.append(kind(name, inputs, tuple(shape), **more))
        return name

    def tensor(self, shape: tuple[int, ...], depth: int) -> str:
        """The name of a node of that shape."""
        kinds = ["join"] * 3 + ["reshape", "transpose", "slice", "gather", "affine", "clip"]
        kind = self._draw(st.sampled_from(kinds)) if depth else "leaf"
        made = getattr(self, f"_{kind}")(shape, depth - 1)
        assert isinstance(made, str)
        return made

    def _leaf(self, shape: tuple[int, ...], depth: int) -> str:
        size = math.prod(shape)
        scale = self._draw(st.sampled_from([0.0, 1.0, 1.5, 20.0]))
        kernel = np.random.default_rng(len(self.nodes)).normal(size=(3, size)) * scale
        row = self.add(Dense, ("input",), (size,), kernel=kernel.astype(np.float32))
        return self.add(Reshape, (row,), shape)

    def _join(self, shape: tuple[int, ...], depth: int) -> str:
        axis = self._draw(st.integers(0, len(shape) - 1))
        ends = [0, *sorted(self._draw(st.sets(st.integers(1, shape[axis]), max_size=3)))]
        sizes = np.diff([*ends, shape[axis]] if ends[-1] < shape[axis] else ends)
        if len(sizes) < 2:
            return self.tensor(shape, depth)
        inputs = [
            self.tensor((*shape[:axis], int(size), *shape[axis + 1 :]), depth) for size in sizes
        ]
        return self.add(Concatenate, tuple(inputs), shape, axis=axis)

    def _reshape(self, shape: tuple[int, ...], depth: int) -> str:
        split = self._draw(st.integers(0, len(shape)))
        other = (math.prod(shape[:split]), math.prod(shape[split:]))
        return self.add(Reshape, (self.tensor(other, depth),), shape)

    def _transpose(self, shape: tuple[int, ...], depth: int) -> str:
        order = tuple(self._draw(st.permutations(range(len(shape)))))
        before = tuple(shape[order.index(axis)] for axis in range(len(shape)))
        return self.add(Transpose, (self.tensor(before, depth),), shape, permutation=order)

    def _slice(self, shape: tuple[int, ...], depth: int) -> str:
        steps = tuple(self._draw(st.sampled_from([1, 1, 2, -1, -2])) for _ in shape)
        before = tuple(size * abs(step) for size, step in zip(shape, steps, strict=True))
        begin = tuple(0 if one > 0 else size - 1 for one, size in zip(steps, before, strict=True))
        source = self.tensor(before, depth)
        return self.add(Slice, (source,), shape, begin=begin, steps=steps)

    def _affine(self, shape: tuple[int, ...], depth: int) -> str:
        size = self._draw(st.sampled_from([(), shape[-1:]]))
        factor, offset = np.random.default_rng(depth).normal(size=(2, *size)).astype(np.float32)
        source = self.tensor(shape, depth)
        return self.add(Affine, (source,), shape, factor=factor, offset=offset)

    def _clip(self, shape: tuple[int, ...], depth: int) -> str:
        return self.add(Clip, (self.tensor(shape, depth),), shape, clip=(0.0, 8.0))

    def _gather(self, shape: tuple[int, ...], depth: int) -> str:
        axis = self._draw(st.integers(0, len(shape) - 1))
        size = self._draw(st.integers(1, 4))
        chosen = st.lists(st.integers(0, size - 1), min_size=shape[axis], max_size=shape[axis])
        source = self.tensor((*shape[:axis], size, *shape[axis + 1 :]), depth)
        return self.add(Gather, (source,), shape, axis=axis, indices=tuple(self._draw(chosen)))


def computed(graph: Graph, inputs: Array) -> list[Array]:
    """What a drawn graph gives, in numpy."""
    found: dict[str, Array] = {}
    for node in graph.nodes:
        read = [found[name] for name in node.inputs]
        match node:
            case InputLayer():
                found[node.name] = inputs
            case Dense():
                found[node.name] = read[0] @ node.kernel
            case Reshape():
                found[node.name] = read[0].reshape(-1, *node.shape)
            case Transpose():
                found[node.name] = read[0].transpose(0, *(axis + 1 for axis in node.permutation))
            case Slice():
                found[node.name] = read[0][(slice(None), *node.slices())]
            case Gather():
                found[node.name] = read[0].take(node.indices, node.axis + 1)
            case Affine():
                found[node.name] = read[0] * node.factor + node.offset
            case Clip():
                found[node.name] = np.clip(read[0], *node.clip)
            case Concatenate():
                found[node.name] = np.concatenate(read, node.axis + 1)
            case _:
                found[node.name] = read[0]
    return [found[node.name] for node in graph.answers]


def as_output(node: OutputLayer) -> Output:
    """As a manifest has it."""
    shape, place = (None, *node.shape), (node.part_of, node.start)
    return Output(node.title, shape, 1.0, 0, (), node.activation, "values", *place)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_parts_are_joined_to_what_they_were(data: st.DataObject) -> None:
    drawn = Drawn(data.draw)
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple))
    name = drawn.tensor(shape, data.draw(st.integers(1, 3)))
    activation = data.draw(st.sampled_from(["none", "softmax"]))
    place = ("answer/output", (name,), shape)
    answer = OutputLayer(*place, title="answer", activation=activation)
    graph = Graph((*drawn.nodes, answer)).pruned()
    inputs = RNG.normal(size=(5, 3)).astype(np.float32)
    (whole,) = computed(graph, inputs)
    parted = part_joined(graph, whole, MAX_TENSORS)
    found = computed(parted, inputs)
    outputs = [as_output(node) for node in parted.answers]
    assert not list(part_problems(outputs))
    assert len(found) <= MAX_TENSORS
    (again,) = join(keras_outputs(outputs), found)
    np.testing.assert_array_equal(again, whole)
    for one, expected in zip(found, parts(cut(parted.answers, whole)), strict=True):
        np.testing.assert_array_equal(one, expected)
    if len(found) > 1:
        assert joins(graph)
        assert activation == "none" or {one.shape[-1] for one in found} == {shape[-1]}


def maps() -> tuple[Any, list[Any]]:
    """An image and two feature maps of it, at strides of 4 and 8."""
    source = keras.Input((SIDE, SIDE, 3), name="image")
    x = L.Conv2D(6, 3, strides=4, padding="same", activation="relu")(source)
    return source, [x, L.Conv2D(6, 3, strides=2, padding="same", activation="relu")(x)]


def ssd() -> Any:
    """Boxes of both maps, scores of both, then one tensor of rows."""
    source, found = maps()
    scales = (1.0, 30.0)
    boxes, scores = (
        L.Concatenate(axis=1)(
            [
                L.Rescaling(factor)(L.Reshape((-1, width))(L.Conv2D(width, 1)(x)))
                for x, factor in zip(found, scales, strict=True)
            ]
        )
        for width in (4, 3)
    )
    return keras.Model(source, L.Concatenate()([boxes, L.Softmax()(scores)]))


def yolo() -> Any:
    """Rows of each map: where, how large, whether, what; then the rows of both maps."""
    source, found = maps()
    rows = []
    for x in found:
        x = L.Reshape((-1, 7))(L.Conv2D(7, 1)(x))
        sure = L.Activation("sigmoid")(x[..., 4:])
        place = L.Rescaling(40.0)(L.Activation("sigmoid")(x[..., :2]))
        rows.append(L.Concatenate()([place, L.Activation("exponential")(x[..., 2:4]), sure]))
    return keras.Model(source, L.Concatenate(axis=1)(rows))


def candidates_last() -> Any:
    """Rows turned, and but some of them."""
    source, found = maps()
    rows = [L.Reshape((-1, 4))(L.Conv2D(4, 1)(x)) for x in found]
    rows[1] = L.Rescaling(50.0)(rows[1])
    return keras.Model(source, L.Permute((2, 1))(L.Concatenate(axis=1)(rows))[:, ::-1, 2:])


def numbers() -> Any:
    """A row of two measures, as one sigmoid gives them."""
    source = keras.Input((6,), name="state")
    ends = [L.Dense(2)(source), L.Rescaling(9.0)(L.Dense(3)(source))]
    return keras.Model(source, L.Activation("sigmoid")(L.Concatenate()(ends)))


MODELS: dict[str, tuple[Callable[[], Any], NDArray[Any], int]] = {
    "SSD": (ssd, PIXELS, 4),
    "YOLO": (yolo, PIXELS, 6),
    "candidates last": (candidates_last, PIXELS, 2),
    "numbers": (numbers, VALUES, 2),
}


def exported(
    model: Any, inputs: NDArray[Any], out: Path, options: Options = ANYTHING, **more: Any
) -> Exported:
    labels = more.get("labels")
    samples = Samples("noise", "0" * 64, inputs, None, inputs, labels, ())
    return compile_model(model, samples, out, options)


@pytest.mark.parametrize("name", MODELS)
def test_every_engine_gives_the_whole(name: str, tmp_path: Path) -> None:
    build, inputs, count = MODELS[name]
    model = settle(build())
    done = exported(model, inputs, tmp_path / "a.tin")
    reals = inputs if inputs.dtype == np.float32 else inputs / np.float32(255)
    expected = model.predict(reals, verbose=0)
    manifest = done.manifest
    assert (len(manifest.outputs), manifest.format_version) == (count, 4)
    assert not done.warnings
    raws, found = [], []
    for engine in ENGINES:
        with load(some(done.bundle), engine) as loaded:
            raws.append(loaded.predict_raw(inputs))
            found.append(loaded.predict(inputs))
            assert not any(result.mismatch for result in loaded.selftest())
    for raw, whole in zip(raws, found, strict=True):
        for one, other in zip(raw, raws[0], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(whole, found[0])
    assert found[0].shape == expected.shape
    for output in manifest.outputs:  # each part is as exact as its own range allows
        ends = (slice(at, at + n) for at, n in zip(output.start, output.sample_shape, strict=True))
        place = (slice(None), *ends)
        error = np.abs(found[0][place] - expected[place]).max()
        assert error < 0.1 * max(np.ptp(expected[place]), 1e-3)
    with load(some(done.bundle), "litert", precision="float") as loaded:
        np.testing.assert_allclose(loaded.predict(inputs), expected, atol=2e-4)


@pytest.mark.parametrize("labelled", [False, True])
def test_like_ranges_and_classes_stay_one(labelled: bool, tmp_path: Path) -> None:
    source = keras.Input((6,), name="state")
    factor = 30.0 if labelled else 1.2
    ends = [L.Dense(2)(source), L.Rescaling(factor)(L.Dense(2)(source))]
    model = settle(keras.Model(source, L.Concatenate()(ends)))
    labels = model.predict(VALUES, verbose=0).argmax(1) if labelled else None
    done = exported(model, VALUES, tmp_path / "a.tin", labels=labels)
    assert (len(done.manifest.outputs), done.manifest.format_version) == (1, 2)
    assert any("one scale serves both" in text for text in done.warnings) == labelled


def test_a_stream_gives_the_whole(tmp_path: Path) -> None:
    source = keras.Input((5, 6), name="steps")
    x = L.LSTM(4, return_sequences=True)(source)
    ends = [L.Dense(2)(x), L.Rescaling(50.0)(L.Dense(3)(x))]
    model = settle(keras.Model(source, L.Concatenate()(ends)))
    steps = RNG.normal(size=(60, 5, 6)).astype(np.float32)
    options = Options(recipe="ptq", max_changed_pp=100.0, stateful=True)
    done = exported(model, steps, tmp_path / "a.tin", options)
    kinds = [output.kind for output in done.manifest.outputs]
    assert (kinds, done.manifest.format_version) == (["values", "values", "state", "state"], 4)
    wanted, found = model.predict(steps[:1], verbose=0)[0], []
    for engine in ENGINES:
        with load(some(done.bundle), engine) as loaded:
            stream = loaded.stream()
            found.append(np.stack([stream.step(step) for step in steps[0]]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert np.abs(found[0] - wanted)[:, :2].max() < 0.1 * np.ptp(wanted[:, :2])


HEAD = BoxHead(
    ("logits",), ("logits",), ("cat", "dog", "cow"), "distances", unit="strides",
    levels=(BoxLevel(4.0), BoxLevel(8.0)), activation="none", score_limit=0.3,
)  # fmt: skip


def detector() -> Any:
    source, found = maps()
    rows = [L.Reshape((-1, 7))(L.Conv2D(7, 1)(x)) for x in found]
    rows = [
        L.Concatenate()(
            [L.Rescaling(9.0)(L.ReLU()(x[..., :4])), L.Activation("sigmoid")(x[..., 4:])]
        )
        for x in rows
    ]
    return keras.Model(source, L.Concatenate(axis=1)(rows))


@pytest.fixture(scope="module")
def detecting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("joined") / "boxes.tin"
    options = Options(recipe="ptq", boxes=HEAD, verify_onnx=True)
    done = exported(settle(detector()), PIXELS, out, options)
    assert len(done.manifest.outputs) == 4
    witness = some(done.witness)
    assert max(witness.differences.values()) <= witness.limit
    return some(done.bundle)


def test_boxes_of_a_joined_output(detecting: Path) -> None:
    found = []
    for engine in ENGINES:
        with load(detecting, engine) as loaded:
            found.append([loaded.detect(image) for image in PIXELS[:8]])
    assert any(found[0])
    assert found[0] == found[1] == found[2]
    with load(detecting, "litert") as loaded:
        raw = loaded.run(loaded.encode(PIXELS[:8]))
        for images, one in zip(
            find_boxes(loaded.decode(raw), loaded.manifest, 0.3), found[0], strict=True
        ):
            np.testing.assert_allclose(images[:, 2:], [box.box for box in one], atol=1e-4)


def test_the_commands_know_the_whole(
    detecting: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["inspect", str(detecting)]) == 0
    said = capsys.readouterr().out
    assert "logits_1: 16 x 3 values" in said
    assert "a part of logits, from (0, 4)" in said
    Image.fromarray(PIXELS[0]).save(tmp_path / "one.png")
    assert main(["run", str(detecting), str(tmp_path / "one.png"), "--json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert {one["label"] for one in first["detections"]} <= {"cat", "dog", "cow"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t["outputs"][1].pop("start"), r"outputs\[1\].start: expected a number from 0"),
        (lambda t: t["outputs"][1].update(start=[0, -1]), r"outputs\[1\].start: expected a number"),
        (
            lambda t: t["outputs"][1].update(start=[0, 3]),
            "parts of 'logits': expected two",
        ),
        (
            lambda t: t["outputs"][1].update(start=[9, 9]),
            "parts of 'logits': expected two",
        ),
        (lambda t: t["outputs"][1].update(shape=[None, 48]), r"outputs\[1\].start: expected"),
        (lambda t: t["outputs"][1].update(part_of="x"), "parts of one behind each other"),
        (lambda t: t["outputs"][1].update(part_of="", start=[]), "parts of one behind each other"),
        (lambda t: t["outputs"].pop(), "parts of 'logits': expected two"),
        (lambda t: t.update(format_version=2), "format_version: expected 4 exactly where outputs"),
        (lambda t: t.update(format_version=3), "format_version: expected 4 exactly where outputs"),
    ],
)
def test_what_is_no_whole_is_refused(
    change: Callable[[Any], Any], said: str, detecting: Path
) -> None:
    bundle = read_bundle(detecting)
    assert dump_manifest(bundle.manifest) == bundle.files["manifest.json"]
    tree = json.loads(bundle.files["manifest.json"])
    change(tree)
    with pytest.raises(BundleError, match=said):
        parse_manifest(json.dumps(tree).encode())
