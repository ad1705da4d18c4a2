"""Errors of layers as node data: whether Model Explorer shows them where they belong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import keras
import numpy as np
import pytest
from compiling import random_inputs, settle
from model_explorer import graph_nodes, landed, parse_node_data

from tinsmith_runtime.cli import main

L = keras.layers
Export = Callable[..., int]
# What each layer is in the TFLite file: one operator or more.
OPERATORS = {
    "first": ["conv_2d"],
    "second": ["depthwise_conv_2d"],
    "both": ["add"],
    "mean": ["depthwise_conv_2d"],
    "kept": ["quantize"],  # a float product stands between dequantize and quantize
    "answer": ["conv_2d"],
}


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Runs `tinsmith export` on a small model with a branch, `kept` being float."""
    source = keras.Input((8, 8, 1))
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="first")(source)
    x = L.Add(name="both")([x, L.DepthwiseConv2D(3, padding="same", name="second")(x)])
    x = L.Dense(6, activation="relu", name="kept")(L.GlobalAveragePooling2D(name="mean")(x))
    settle(model := keras.Model(source, L.Dense(4, activation="softmax", name="answer")(x)))
    model.save(tmp_path / "m.keras")
    pixels = random_inputs((8, 8, 1), 200)
    np.savez(tmp_path / "x.npz", x_train=pixels, x_test=random_inputs((8, 8, 1), 60, seed=2))

    def run(*words: str) -> int:
        command = ["export", str(tmp_path / "m.keras"), "--data", str(tmp_path / "x.npz")]
        command += ["--recipe", "ptq", "--keep-float", "kept", "--quiet", "--json", *words]
        return main([*command, "--out", str(tmp_path / "m.tin")])

    return run


def test_values_land_on_the_operators_of_their_layers(
    export: Export, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "errors.json"
    words = ["--sensitivity", "--max-changed-pp", "100", "--node-data", str(place)]
    assert export(*words) == 0
    rows = {row["layer"]: row for row in json.loads(capfd.readouterr().out)["sensitivity"]}
    with ZipFile(tmp_path / "m.tin") as bundle:
        nodes = graph_nodes(bundle.read("model.int8.tflite"))
    names = Counter(name for _, found in nodes.values() for name in found)
    assert set(names.values()) == {1}  # of two with one name only the last would be found
    found = landed(parse_node_data(place.read_text()), nodes)
    shown: dict[str, list[str]] = {}
    for node, value in found.items():
        (layer,) = (name for name in rows if round(rows[name]["alone_sqnr_db"], 2) == value)
        shown.setdefault(layer, []).append(nodes[node][0])
    assert shown == OPERATORS


def test_a_failed_gate_leaves_node_data_of_each_layers_own_error(
    export: Export, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "errors.json"
    words = ["--max-changed-pp", "0", "--strict", "--node-data", str(place)]
    assert export(*words) == 1
    rows = json.loads(capfd.readouterr().out)["sensitivity"]
    assert not (tmp_path / "m.tin").exists()
    values = {result.value for result in parse_node_data(place.read_text()).results.values()}
    assert values == {round(row["sqnr_db"], 2) for row in rows}
    assert export("--node-data", str(tmp_path / "m.tin")) == 2
    assert "m.tin: expected a name of its own" in capfd.readouterr().err


def test_the_nodes_are_those_of_the_real_adapter(export: Export, tmp_path: Path) -> None:
    adapter = pytest.importorskip(
        "ai_edge_model_explorer_adapter",
        reason="it takes 500 MB: pip install ai-edge-model-explorer-adapter==0.2.1",
    )
    assert export("--max-changed-pp", "100") == 0
    file = tmp_path / "model.int8.tflite"
    with ZipFile(tmp_path / "m.tin") as bundle:
        file.write_bytes(bundle.read(file.name))
    config = adapter.VisualizeConfig()
    (model,) = json.loads(adapter.ConvertFlatbufferDirectlyToJson(config, str(file)))
    (graph,) = model["subgraphs"]
    found = {
        node["id"]: (
            node["label"],
            [
                entry["value"]
                for output in node.get("outputsMetadata", [])
                for entry in output["attrs"]
                if entry["key"] == "tensor_name"
            ],
        )
        for node in graph["nodes"]
    }
    assert found == graph_nodes(file.read_bytes())
