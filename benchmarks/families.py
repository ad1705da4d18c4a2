"""Compiles every family of keras.applications, and an autoencoder, and prints a row for each.

    python benchmarks/families.py                        # all, both recipes: an hour on two cores
    python benchmarks/families.py MobileNet VGG16 --recipe ptq
    python benchmarks/families.py --write docs/families.md

Rows of other models that the file to write has already, it keeps: a run may be done in parts.

Random weights (fixed seed), 10 classes, the smallest image that each family takes; normalized,
calibrated and proven on parts of the two photographs that scikit-learn comes with. The autoencoder
is trained on such parts.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pages import in_process, table_head, write

SIZES = {
    "VGG16": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "MobileNetV3Large": 32,
    "DenseNet121": 32,
    "NASNetMobile": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ConvNeXtTiny": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "RegNetX002": 32,
    "ResNetRS50": 32,
}
# Not in Keras 3.
OF_TF_KERAS = ("RegNetX002", "ResNetRS50")
AUTOENCODER = "autoencoder"
MODELS = (*SIZES, AUTOENCODER)
TITLE = "The families of keras.applications, compiled"
NOTE = """\
Every product is an integer kernel. Weights are random (a fixed seed), with 10 classes and the
smallest image that each family takes: the table is about parity, size and time. Inputs are parts of
two photographs. `qat` is 8 steps here: it shows that fine-tuning works, not what it gains.
Latencies are the fastest of 60 calls on one thread. Peak memory includes making the model:
`tinsmith export` itself takes 1.4 GB for MobileNetV2 at 96 x 96 by `ptq`.

There is no SQNR: random weights make every layer add noise that no training has learned to bear.
TensorFlow's own int8 files of MobileNet, MobileNetV3Small and InceptionV3 came to 6, 11 and 3 dB,
tinsmith's to 4, 12 and 1. What int8 loses is measured on trained models, by
`benchmarks/accuracy.py`."""
CLASSES = 10
COUNT = 160
QAT_STEPS = 8
COLUMNS = {
    "family": "family",
    "recipe": "recipe",
    "equal": "outputs equal",
    "within_1": "within 1 LSB",
    "max_difference_lsb": "largest LSB",
    "size_kb": "TFLite kB",
    "float_share": "of float",
    "litert_us": "LiteRT µs",
    "onnx_us": "ONNX Runtime µs",
    "export_s": "export s",
    "peak_memory_mb": "peak MB",
}


def main() -> int:
    """Runs each family in a process of its own, so that none pays for another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(MODELS))
    parser.add_argument("--recipe", choices=("ptq", "qat", "both"), default="both")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows there too")
    parser.add_argument("--json", action="store_true", help="rows as JSON lines")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.families).difference(MODELS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(MODELS)}")
    if arguments.one:
        print(json.dumps(measure(arguments.families[0], arguments.recipe)))
        return 0
    rows: list[dict[str, Any]] = []
    recipes = ("ptq", "qat") if arguments.recipe == "both" else (arguments.recipe,)
    for family in arguments.families or MODELS:
        for recipe in recipes:
            print(f"{family} {recipe}", file=sys.stderr, flush=True)
            rows.append(apart(family, recipe))
            if arguments.json:
                print(json.dumps(rows[-1]), flush=True)
            if arguments.write:
                write(arguments.write, TITLE, as_markdown(rows), 2, MODELS, NOTE)
    if not arguments.json:
        print(as_markdown(rows))
    return int(any("error" in row for row in rows))


def apart(family: str, recipe: str) -> dict[str, Any]:
    """Measures a family in a new process; what goes wrong there is in its row."""
    found = in_process(__file__, family, "--recipe", recipe, "--one")
    return {"family": family, "recipe": recipe, **found}


def source(name: str) -> tuple[Any, Any, tuple[float, float]]:
    """A model, inputs for it, and the range of its pixels."""
    from tinsmith_data.quiet import import_tensorflow

    import_tensorflow()
    if name == AUTOENCODER:
        return *autoencoder(), (0.0, 1.0)
    model = build(name)
    return model, photographs(SIZES[name]), pixel_range(model)


def build(family: str) -> Any:
    """The family's model: random weights, 10 classes, images of the smallest size."""
    import keras
    import tf_keras

    library = tf_keras if family in OF_TF_KERAS else keras
    library.utils.set_random_seed(0)
    size = SIZES[family]
    make = getattr(library.applications, family)
    model = make(weights=None, classes=CLASSES, input_shape=(size, size, 3))
    # With the statistics that a new model has, signals fade to nothing within a few layers.
    for layer in model.layers:
        if hasattr(layer, "moving_variance"):
            layer.momentum = 0.0
    model(photographs(size) / 255 * pixel_range(model)[1], training=True)
    return model


def autoencoder() -> tuple[Any, Any]:
    """The dense autoencoder of MLPerf Tiny, trained on pieces of 20 x 32 pixels of photographs."""
    import keras
    import numpy as np

    pieces = photographs(32)[:, :, :, 1]
    inputs = np.concatenate([pieces[:, :20], pieces[:, 12:]]).reshape(-1, 640) / np.float32(255)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([keras.Input((640,))])
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        model.add(layers.Dense(width))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Dense(640))
    model.compile("adam", "mse")
    model.fit(inputs, inputs, epochs=30, verbose=0)
    return model, inputs


def pixel_range(model: Any) -> tuple[float, float]:
    """What the model takes for pixels 0 and 255: some families scale them themselves."""
    kinds = {type(layer).__name__ for layer in model.layers}
    return (0.0, 255.0) if kinds & {"Rescaling", "Normalization"} else (0.0, 1.0)


def photographs(size: int) -> Any:
    """Parts of two photographs, `uint8 (COUNT, size, size, 3)`."""
    import numpy as np
    from sklearn.datasets import load_sample_images

    rng, images = np.random.default_rng(0), load_sample_images().images
    parts = []
    for index in range(COUNT):
        image = images[index % len(images)]
        step = int(rng.integers(1, 5))
        top, left = (int(rng.integers(0, edge - size * step)) for edge in image.shape[:2])
        parts.append(image[top : top + size * step : step, left : left + size * step : step])
    return np.stack(parts)


def as_samples(inputs: Any) -> Any:
    """Four fifths of the inputs for calibration, one for evaluation; no labels."""
    from tinsmith_export import Samples

    middle = len(inputs) * 4 // 5
    return Samples("photographs", "0" * 64, inputs[:middle], None, inputs[middle:], None, ())


def measure(family: str, recipe: str) -> dict[str, Any]:
    """Compiles a family and times both engines."""
    model, inputs, span = source(family)

    import resource

    from tinsmith_export import Options, compile_model
    from tinsmith_runtime import load

    samples = as_samples(inputs)
    options = Options(
        input_range=span,
        recipe=recipe,
        qat_steps=QAT_STEPS,
        max_drop_pp=100.0,
        max_changed_pp=100.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "family.tin")
        start = time.monotonic()
        exported = compile_model(model, samples, out, options)
        export_s = time.monotonic() - start
        latencies, codes = {}, []
        for backend in ("litert", "onnx"):
            with load(out, backend=backend) as loaded:
                codes.append(loaded.predict_raw(samples.evaluation).astype(int))
                times = []
                for index in range(60):
                    one = inputs[index : index + 1]
                    begin = time.perf_counter()
                    loaded.predict(one)
                    times.append(time.perf_counter() - begin)
                latencies[backend] = min(times) * 1e6
    quality = exported.manifest.quality
    difference = abs(codes[0] - codes[1])
    sizes = {variant.id: variant.size_bytes for variant in exported.manifest.variants}
    return {
        "equal": float((difference == 0).mean()),
        "within_1": float((difference <= 1).mean()),
        "max_difference_lsb": int(difference.max()),
        "sqnr_db": quality.stages[-1].sqnr_db,
        "size_kb": sizes["int8-tflite"] / 1000,
        "float_share": sizes["int8-tflite"] / sizes["float-tflite"],
        "litert_us": latencies["litert"],
        "onnx_us": latencies["onnx"],
        "export_s": export_s,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "kernels": {name: dict(found) for name, found in exported.kernels.items()},
        "steps": [checkpoint.mean_squared_error for checkpoint in exported.checkpoints],
    }


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """A table, a row a family and recipe; a failure keeps its row and says why."""
    lines = table_head([*COLUMNS.values()], 2)
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['family']} | {row['recipe']} | {row['error']} |")
            continue
        cells = []
        for key in COLUMNS:
            value = row[key]
            if key in ("equal", "within_1", "float_share"):
                value = f"{value:.2%}"
            elif isinstance(value, float):
                value = f"{value:,.0f}"
            cells.append("-" if value is None else str(value))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
