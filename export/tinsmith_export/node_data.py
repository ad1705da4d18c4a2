"""The errors of layers as node data of Model Explorer, which colours the graph of a TFLite file."""

import json

from tinsmith_export.results import Exported

# From the layer that loses most to the one that loses least.
_GRADIENT = ({"stop": 0, "bgColor": "#d7301f"}, {"stop": 1, "bgColor": "#fff7ec"})


def node_data(exported: Exported) -> str:
    """Writes what quantizing does to each layer as JSON, for every operator of the layer.

    The form is that of `GraphNodeData`, in `src/server/package/src/model_explorer/
    node_data_builder.py` of the repository google-ai-edge/model-explorer. An operator is named by
    the tensor that it gives. A value is an SQNR in dB: of the model's output with that layer alone
    quantized, if `sensitivity` measured it; of the layer's own output otherwise. A layer without an
    error has none.

    Args:
        exported: made with `layer_errors` or `sensitivity`.
    """
    rows = exported.sensitivities
    alone = any(row.alone_sqnr_db is not None for row in rows)
    values = {row.layer: row.alone_sqnr_db if alone else row.sqnr_db for row in rows}
    results = {
        tensor: {"value": round(value, 2)}
        for tensor, layer in exported.tensors.items()
        if (value := values.get(layer)) is not None
    }
    return json.dumps({"results": results, "gradient": _GRADIENT}, indent=1) + "\n"
