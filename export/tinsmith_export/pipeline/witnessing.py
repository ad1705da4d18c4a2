"""The optional stage between converting and verifying: the independent witness."""

from tinsmith_export.pipeline.converting import ConvertedModel
from tinsmith_export.progress import Progress
from tinsmith_export.results import Witness
from tinsmith_export.verify.witness import compare_with_witness


def witness_model(model: ConvertedModel, progress: Progress) -> Witness:
    """Compares the float files with an ONNX file that tf2onnx makes of the Keras model.

    Raises:
        ConversionError: tf2onnx cannot make one.
    """
    progress.stage("comparing with an ONNX file of tf2onnx")
    read = model.model.read
    inputs, entry = read.samples.evaluation, read.entry
    return compare_with_witness(
        read.model, model.floats, entry.model_reals(inputs), entry.reals(inputs), read.graph.answers
    )
