"""One way from a Keras model to int8, in a process of its own: what it gives and what it costs.

    python benchmarks/routes.py prepare FOLDER
    python benchmarks/routes.py ptq FOLDER

FOLDER holds `request.json`, a `Request`. `prepare` reads the model's data once, into `inputs.npy`
and, where there are some, `labels.npy`. A route reads from `split.npz` which of these inputs it has
to calibrate on and which to answer, writes its outputs to `ROUTE.npy` and prints its `Cost` as
JSON. No route sees a label. Time is that of the route alone, with TensorFlow imported and the
inputs read; memory is the most that the process held until the route's end, as the system counts
it. tinsmith's routes verify what they made on the evaluation data, and that counts.
"""

import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tinsmith_export.competitors.baselines import CompetitorModel

_BATCH = 50
_PHOTOGRAPHS = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class Request:
    """What the routes start from.

    Attributes:
        model: the Keras model's path.
        data: what `--data` of tinsmith takes; or a `.zip` file of images, whose names begin with
            the number of their class.
        low: what the model takes for pixel 0.
        high: what it takes for pixel 255.
        budget_s: of `auto`.
        qat_steps: of `qat`, and of `auto` at most so many.
    """

    model: str
    data: str
    low: float
    high: float
    budget_s: float
    qat_steps: int


@dataclass(frozen=True)
class Cost:
    """What a route cost.

    Attributes:
        seconds: on the clock.
        cpu_seconds: of all threads together.
        peak_memory_mb: in 2**20 bytes.
        size_bytes: of the model file.
        activated: whether the outputs are probabilities; otherwise they are logits.
        note: what else is to be said of it.
    """

    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    size_bytes: int
    activated: bool
    note: str


@dataclass(frozen=True, eq=False)
class Material:
    """What a route is given.

    Attributes:
        request: the model, and the options.
        folder: for files.
        calibration: `uint8 (N, H, W, C)`.
        evaluation: `uint8 (M, H, W, C)`.
        inputs: the calibration data as the float model takes them; none of them for tinsmith's
            routes, which take pixels.
    """

    request: Request
    folder: Path
    calibration: NDArray[np.uint8]
    evaluation: NDArray[np.uint8]
    inputs: NDArray[np.float32]


Route = Callable[[Material], "tuple[CompetitorModel, str]"]


def prepare(folder: Path) -> dict[str, Any]:
    """Reads a model's data, in the model's shape; says how many inputs come first, to train on."""
    request = read_request(folder)
    from tinsmith_data.quiet import import_tensorflow

    import_tensorflow()
    from tinsmith_data.sources import read_data
    from tinsmith_export.frontend.load import load_keras
    from tinsmith_export.inputs.samples import checked, checked_labels
    from tinsmith_runtime.batch import parts

    model = load_keras(Path(request.model))
    shape, classes = tuple(model.input_shape[1:]), model.output_shape[-1]
    if request.data.endswith(".zip"):
        inputs, labels = _photographs(Path(request.data), shape)
        train = 0
    else:
        data = read_data(request.data, shape=shape)
        found = [part for part in (data.train, data.test) if part is not None]
        arrays = [parts(checked(data.name, part.inputs, [shape]))[0] for part in found]
        given = [part.labels for part in found if part.labels is not None]
        inputs, train = np.concatenate(arrays), 0 if data.train is None else len(arrays[0])
        labels = np.concatenate(given) if len(given) == len(found) else None
    if inputs.dtype != np.uint8 or inputs.shape[1:] != shape:
        sys.exit(f"expected uint8 images {shape}, got {inputs.dtype} {inputs.shape[1:]}")
    np.save(folder / "inputs.npy", inputs)
    labels = checked_labels(request.data, labels, len(inputs))
    # Photographs of other classes than the model's have no labels for it.
    if labels is not None and int(labels.max()) < classes:
        np.save(folder / "labels.npy", labels)
    return {"count": len(inputs), "train": train}


def _photographs(
    path: Path, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Images of an archive, fitted to a shape, and the numbers that their names begin with."""
    from tinsmith_runtime.inputs.image import read_image

    with ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.lower().endswith(_PHOTOGRAPHS))
        inputs = np.stack([read_image(archive.read(name), shape) for name in names])
    numbers = [re.match(r"\d+", PurePosixPath(name).name) for name in names]
    known = [int(number[0]) for number in numbers if number]
    return inputs, np.array(known) if len(known) == len(names) else None


def read_request(folder: Path) -> Request:
    """Reads `request.json`."""
    return Request(**json.loads((folder / "request.json").read_text("utf-8")))


def measure(route: str, folder: Path) -> Cost:
    """Goes a route and has its file answer the evaluation data."""
    request = read_request(folder)
    from tinsmith_data.quiet import import_tensorflow

    import_tensorflow()
    from tinsmith_bench.competitors import as_floats

    pixels = np.load(folder / "inputs.npy", mmap_mode="r")
    with np.load(folder / "split.npz") as split:
        calibration, evaluation = (pixels[split[key]] for key in ("calibration", "evaluation"))
    span = request.low, request.high
    taken = calibration[:0] if route in OURS else calibration
    material = Material(request, folder, calibration, evaluation, as_floats(taken, span))
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    made, note = ROUTES[route](material)
    seconds, cpu_seconds = time.perf_counter() - begun_s, time.process_time() - cpu_s
    peak_memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    np.save(folder / f"{route}.npy", _outputs(made, folder / f"{route}.tin", evaluation, span))
    return Cost(seconds, cpu_seconds, peak_memory_mb, len(made.data), made.activated, note)


def _outputs(
    made: "CompetitorModel",
    bundle: Path,
    pixels: NDArray[np.uint8],
    span: tuple[float, float],
) -> NDArray[np.float32]:
    """What a file gives for pixels, `float32 (N, classes)`: tinsmith's from its bundle."""
    from tinsmith_bench.competitors import as_floats
    from tinsmith_runtime import load
    from tinsmith_runtime.backends import backends_of, create_backend

    batches = [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]
    threads = os.cpu_count() or 1
    if bundle.exists():
        with load(bundle, backend="litert", threads=threads) as model:
            return np.concatenate([model.decode(model.predict_raw(batch)) for batch in batches])
    backend = create_backend(backends_of(made.form)[0].name, made.data, threads)
    return np.concatenate([np.asarray(backend.run(as_floats(batch, span))) for batch in batches])


def _float(material: Material) -> "tuple[CompetitorModel, str]":
    from tinsmith_export.competitors.baselines import CompetitorModel, convert_with_tensorflow

    data = convert_with_tensorflow(_without_softmax(material))
    return CompetitorModel("tflite", "float", data, False), ""


def _tensorflow(material: Material, logits: bool) -> "tuple[CompetitorModel, str]":
    from tinsmith_export.competitors.baselines import CompetitorModel, quantize_with_tensorflow
    from tinsmith_export.frontend.load import load_keras

    path = Path(material.request.model)
    model = _without_softmax(material) if logits else load_keras(path)
    data = quantize_with_tensorflow(model, material.inputs)
    return CompetitorModel("tflite", "int8", data, not logits), ""


def _without_softmax(material: Material) -> Any:
    """The Keras model without a last softmax: it gives logits."""
    import keras
    import tf_keras

    from tinsmith_export.frontend.load import load_keras

    model = load_keras(Path(material.request.model))
    last = model.layers[-1]
    if type(last).__name__ == "Softmax":
        library = tf_keras if isinstance(model, tf_keras.Model) else keras
        return library.Model(model.inputs, last.input)
    if getattr(getattr(last, "activation", None), "__name__", "") == "softmax":
        last.activation = keras.activations.linear
    return model


def _onnx_runtime(material: Material) -> "tuple[CompetitorModel, str]":
    from tinsmith_export.competitors.baselines import ort_ptq
    from tinsmith_runtime import read_bundle

    found = read_bundle(material.folder / "ptq.tin").files["model.float.onnx"]
    return ort_ptq(float_onnx=found, inputs=material.inputs), ""


def _naive(material: Material) -> "tuple[CompetitorModel, str]":
    from tinsmith_export.competitors.baselines import naive

    return naive(model=Path(material.request.model), inputs=material.inputs, labels=None), ""


def _tinsmith(material: Material, recipe: str) -> "tuple[CompetitorModel, str]":
    """An export; only `auto` has a limit to keep to, its default one."""
    from tinsmith_export import GateError, Options, Samples, export
    from tinsmith_export.competitors.baselines import CompetitorModel
    from tinsmith_runtime import read_bundle

    request, out = material.request, material.folder / f"{recipe}.tin"
    rejected = material.folder / f"{recipe}.rejected.tin"
    options = Options(
        input_range=(request.low, request.high),
        recipe=recipe,
        budget_s=request.budget_s,
        qat_steps=request.qat_steps,
        keep_rejected=rejected,
    )
    if recipe != "auto":
        options = replace(options, max_drop_pp=100.0, max_changed_pp=100.0)
    name = Path(request.data).name
    samples = Samples(name, "0" * 64, material.calibration, None, material.evaluation, None, ())
    note = ""
    try:
        exported = export(Path(request.model), samples, out, options)
    except GateError as error:
        exported, note = error.exported, "failed its gate, "
        if exported.bundle is None:
            raise
        rejected.rename(out)
    data = read_bundle(out).files["model.int8.tflite"]
    taken = f"took {exported.manifest.training.recipe}" if recipe == "auto" else ""
    return CompetitorModel("tflite", "int8", data, False), note + taken


OURS = ("ptq", "calibrated", "qat", "auto")
"""tinsmith's recipes, each a route."""

# The first is what all others are compared with.
ROUTES: dict[str, Route] = {
    "float": _float,
    **{recipe: partial(_tinsmith, recipe=recipe) for recipe in OURS},
    "tflite-ptq": partial(_tensorflow, logits=False),
    "tflite-ptq-logits": partial(_tensorflow, logits=True),
    "ort-ptq": _onnx_runtime,
    "naive": _naive,
}


if __name__ == "__main__":
    task, place = sys.argv[1], Path(sys.argv[2])
    print(json.dumps(prepare(place) if task == "prepare" else asdict(measure(task, place))))
