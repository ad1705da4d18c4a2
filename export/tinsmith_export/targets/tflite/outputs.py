"""Every output of a TFLite file, however many it has."""

from tinsmith_runtime.backends.litert import open_interpreter
from tinsmith_runtime.batch import Array, Arrays, parts


def run_outputs(model: bytes, batch: Arrays) -> dict[str, Array]:
    """Computes a batch once and gives every output of the model by its name.

    Args:
        model: a TFLite file.
        batch: for each input, in the file's order, `(N, ...)` of its dtype.
    """
    interpreter = open_interpreter(model, 1)
    indices = [source["index"] for source in interpreter.get_input_details()]
    fed = list(zip(indices, parts(batch), strict=True))
    for index, array in fed:
        interpreter.resize_tensor_input(index, array.shape)
    interpreter.allocate_tensors()
    for index, array in fed:
        interpreter.set_tensor(index, array)
    interpreter.invoke()
    outputs = interpreter.get_output_details()
    return {output["name"]: interpreter.get_tensor(output["index"]) for output in outputs}
