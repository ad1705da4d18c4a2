"""What ONNX Runtime makes of a file, and every output that the file has."""

import tempfile
from pathlib import Path

from tinsmith_runtime.backends.ort import open_session, session_options
from tinsmith_runtime.batch import Array, Arrays, parts


def optimized_model(model: bytes) -> bytes:
    """Gives the graph that ONNX Runtime makes of a model on this machine, as an ONNX file.

    What runs is in it: `QLinearConv` is an integer kernel, `FusedConv` a float one.
    """
    options = session_options(model, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimized.onnx")
        options.optimized_model_filepath = str(path)
        open_session(model, options)
        return path.read_bytes()


def run_outputs(model: bytes, batch: Arrays) -> dict[str, Array]:
    """Computes a batch once and gives every output of the model by its name.

    Args:
        model: an ONNX file.
        batch: for each input, in the file's order, `(N, ...)` of its dtype; uint8 codes where
            `OrtBackend` takes int8 ones.
    """
    session = open_session(model, session_options(model, 1))
    names = [output.name for output in session.get_outputs()]
    inputs = [source.name for source in session.get_inputs()]
    found = session.run(names, dict(zip(inputs, parts(batch), strict=True)))
    return dict(zip(names, found, strict=True))
