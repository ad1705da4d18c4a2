"""What Google's Model Explorer makes of a TFLite file and of node data, as far as we need it.

Read from the repository google-ai-edge/model-explorer (0.1.34; adapter 0.2.1):
`src/server/package/src/model_explorer/node_data_builder.py` says what node data may hold,
`src/builtin-adapter/adapters/litert/direct_flatbuffer_to_json_graph_convert.cc` how an operator
becomes a node, `node_data_provider_extension_service.ts` how the two find each other.
"""

from typing import Any

from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export.targets.tflite.convert import operator_name
from tinsmith_runtime.record import frozen_dataclass, parse_record, read_json


@frozen_dataclass(frozen=True)
class NodeDataResult:
    value: float
    bgColor: str | None = None  # noqa: N815
    textColor: str | None = None  # noqa: N815


@frozen_dataclass(frozen=True)
class GradientItem:
    stop: float
    bgColor: str | None = None  # noqa: N815
    textColor: str | None = None  # noqa: N815


@frozen_dataclass(frozen=True)
class GraphNodeData:
    """The fields that we write; `thresholds`, and six on tables and groups, may be left out."""

    results: dict[str, NodeDataResult]
    gradient: tuple[GradientItem, ...] = ()


def parse_node_data(text: str) -> GraphNodeData:
    """Reads node data; a field that is unknown, missing or of another type is an error."""
    found: GraphNodeData = parse_record(GraphNodeData, read_json(text))
    stops = [item.stop for item in found.gradient]
    assert stops == sorted(stops)
    assert not stops or (stops[0], stops[-1]) == (0, 1), "both ends must be given"
    return found


def graph_nodes(data: bytes) -> dict[str, tuple[str, list[str]]]:
    """Id to label and the names of the output tensors, of every node that the adapter makes.

    An operator's id is its index. What no operator gives comes behind: inputs, and constants where
    they are first read.
    """
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (graph,) = model.subgraphs

    def names(indices: Any) -> list[str]:
        return [graph.tensors[index].name.decode() for index in indices]

    operators = {
        str(index): (operator_name(model, operator).lower(), names(operator.outputs))
        for index, operator in enumerate(graph.operators)
    }
    given = {index for operator in graph.operators for index in operator.outputs}
    given |= set(graph.inputs)
    read = dict.fromkeys(i for operator in graph.operators for i in operator.inputs if i >= 0)
    more = [("GraphInputs", names(graph.inputs))]
    more += [("pseudo_const", names([index])) for index in read if index not in given]
    more.append(("GraphOutputs", []))
    return operators | {str(len(operators) + i): node for i, node in enumerate(more)}


def landed(data: GraphNodeData, nodes: dict[str, tuple[str, list[str]]]) -> dict[str, float]:
    """Node id to its value: a key is the name of an output tensor, else the id itself.

    Of several nodes that give a tensor of one name the last is meant.
    """
    owners = {name: node for node, (_, names) in nodes.items() for name in names}
    return {owners.get(key, key): result.value for key, result in data.results.items()}
