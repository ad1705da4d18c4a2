"""tinsmith's int8 ONNX against what the usual routes make of the same model, timed in one run.

    python benchmarks/naive.py                                # the families: an hour on two cores
    python benchmarks/naive.py MobileNet autoencoder
    python benchmarks/naive.py all resnet8=resnet8.h5:0:255 --write docs/naive.md

A model is one of families.py, `all` of these, or NAME=FILE:LOW:HIGH, an image model of one's own
and what it takes for pixels 0 and 255. Rows of other models that the file to write has already, it
keeps. The naive routes end in tf2onnx: `PTQ` comes from TensorFlow's converter with a
representative dataset, `QAT` from TFMOT's `quantize_model` and an epoch of training. All three
files run in ONNX Runtime on one thread, in turns of random order; a ratio is taken round by round,
with its 95 % interval. Float products are the nodes that ONNX Runtime multiplies floats in.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from families import MODELS, as_samples, photographs, source
from pages import in_process, table_head, write

TITLE = "tinsmith's ONNX files against the naive routes'"
NOTE = """\
Three int8 ONNX files of each model, timed in ONNX Runtime on one thread, in turns of random order.
`PTQ` and `QAT` end in tf2onnx: of TensorFlow's converter with a representative dataset, and of
TFMOT's `quantize_model` with an epoch of training. Float products are nodes that ONNX Runtime
multiplies floats in. A ratio is a naive file's time over tinsmith's, with its 95 % interval. Where
a route makes no file that runs, its cell says why, and numbers are missing."""
# Rounds, the parts of them that intervals are drawn over, and calls of each file in a round.
ROUNDS, BLOCKS, CALLS = 60, 12, 8
# What is asked of tinsmith: how long it may take at most, and how much faster it must be than a
# QAT route that leaves float convolutions.
MOST, LEAST = 1.1, 1.7
_ROUTES = ("PTQ", "QAT")
_WIDTH = 100  # of the reason why a route makes no file that runs
_COLUMNS = (
    *("model", "tinsmith µs", "naive PTQ µs", "naive QAT µs"),
    *("float products in PTQ, QAT", "PTQ / tinsmith", "QAT / tinsmith", "holds"),
)


def main() -> int:
    """Measures each model in a process of its own, so that none pays for another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ", ".join(("all", *MODELS))
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"NAME=FILE:LOW:HIGH, {known}")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows there too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    models = [
        model
        for word in arguments.models or ["all"]
        for model in (MODELS if word == "all" else [word])
    ]
    unknown = [name for name in models if "=" not in name and name not in MODELS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {known}")
    if arguments.one:
        print(json.dumps(measure(models[0])))
        return 0
    lines = table_head(_COLUMNS, 1, 1)
    print("\n".join(lines))
    for model in models:
        lines.append(_apart(model))
        print(lines[-1], flush=True)
        if arguments.write:
            write(arguments.write, TITLE, "\n".join(lines), 1, MODELS, NOTE)
    return int(any(line.endswith("| no |") for line in lines[2:]))


def _apart(model: str) -> str:
    name, found = model.partition("=")[0], in_process(__file__, model, "--one")
    if "error" in found:
        return f"| {name} | {found['error']} | | | | | | no |"
    times, floats, ratios, reasons = (
        found[key] for key in ("us", "float_products", "ratios", "reasons")
    )

    rows = [f"{times['tinsmith']:,.0f}"]
    for route in _ROUTES:
        rows.append(f"{times[route]:,.0f}" if route in times else _shortened(reasons[route]))
    rows.append(", ".join(str(floats.get(route, "-")) for route in _ROUTES))
    for route in _ROUTES:
        rows.append("{:.2f} [{:.2f}, {:.2f}]".format(*ratios[route]) if route in ratios else "-")
    verdict = ("no", "yes")[_holds(floats, ratios)] if ratios else "-"
    return f"| {name} | {' | '.join(rows)} | {verdict} |"


def _shortened(reason: str) -> str:
    """An error as a cell of a Markdown table."""
    text = reason.replace("`", "'").replace("|", "/")
    return f"`{text[:_WIDTH]}{'…' * (len(text) > _WIDTH)}`"


def _holds(floats: dict[str, int], ratios: dict[str, list[float]]) -> bool:
    slow = any(1 / high > MOST for _, _, high in ratios.values())
    return not slow and (not floats.get("QAT") or ratios["QAT"][2] >= LEAST)


def measure(name: str) -> dict[str, Any]:
    """Goes all routes with a model and times what they made.

    Returns:
        `us`, the median latency in µs by the route; `float_products`; `ratios`, each naive route's
        time over tinsmith's with its interval; `reasons`, why a route ended in nothing.
    """
    model, inputs, pixels = _source(name)

    from tinsmith_bench.competitors import as_floats
    from tinsmith_export import Options, compile_model
    from tinsmith_runtime import read_bundle

    samples = as_samples(inputs)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "model.tin")
        options = Options(input_range=pixels, recipe="ptq", max_drop_pp=100.0, max_changed_pp=100.0)
        compile_model(model, samples, out, options)
        bundle = read_bundle(out)
        file = Path(folder, "model.keras")
        model.save(file)
        entry = bundle.manifest.input
        files, reasons = {"tinsmith": bundle.files["model.int8.onnx"]}, {}
        given = {
            "model": file,
            "inputs": as_floats(samples.calibration, pixels),
            "labels": None,
            "grid": (entry.scale, entry.zero_point),
        }
        for route, make in _routes().items():
            try:
                files[route] = make(**given)
            except Exception as error:  # converters raise whatever they like
                reasons[route] = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _timed(files, reasons)


def _source(name: str) -> tuple[Any, Any, tuple[float, float]]:
    """A model, inputs for it, and the range of its pixels."""
    if "=" not in name:
        return source(name)
    path, low, high = name.partition("=")[2].rsplit(":", 2)
    from tinsmith_data.quiet import import_tensorflow

    import_tensorflow()
    from tinsmith_export.frontend.load import load_keras

    model = load_keras(Path(path))
    return model, photographs(model.input_shape[1]), (float(low), float(high))


def _routes() -> dict[str, Callable[..., bytes]]:
    from tinsmith_export.competitors.baselines import naive, tflite_ptq, to_onnx_naively

    return {
        "PTQ": lambda **given: to_onnx_naively(tflite_ptq(**given).data),
        "QAT": lambda **given: naive(**given).data,
    }


def _timed(files: dict[str, bytes], reasons: dict[str, str]) -> dict[str, Any]:
    import numpy as np
    import onnx

    from tinsmith_bench.stats.intervals import paired_ratio
    from tinsmith_bench.timing.latency import interleave, time_calls, warm_up
    from tinsmith_export.targets.onnx.kernels import FLOAT_KERNELS
    from tinsmith_export.targets.onnx.session import optimized_model
    from tinsmith_runtime.backends.ort import open_session, session_options

    rng = np.random.default_rng(0)
    calls, feeds, floats = {}, {}, {}
    for route, data in files.items():
        try:
            session = open_session(data, session_options(data, 1))
            (source,) = session.get_inputs()
            kind = source.type.removeprefix("tensor(").removesuffix(")")
            values = rng.integers(0, 100, (1, *source.shape[1:]))
            calls[route] = partial(session.run, None)
            feed = {source.name: values.astype("float32" if kind == "float" else kind)}
            warm_up(calls[route], [feed] * CALLS)
        except Exception as error:  # ONNX Runtime's share no base class
            reasons[route] = f"ONNX Runtime: {str(error).splitlines()[0]}"
            continue
        feeds[route] = [feed] * CALLS
        nodes = onnx.load_from_string(optimized_model(data)).graph.node
        floats[route] = sum(node.op_type in FLOAT_KERNELS for node in nodes)
    times: dict[str, list[float]] = {route: [] for route in feeds}
    for _, route in interleave(list(feeds), ROUNDS, rng):
        times[route].append(float(np.median(time_calls(calls[route], feeds[route]))))
    rounds = {route: np.array(row) for route, row in times.items()}
    ratios = {}
    for route in rounds.keys() - {"tinsmith"}:
        ratio = paired_ratio(rounds[route], rounds["tinsmith"], BLOCKS, rng)
        ratios[route] = [ratio.value, ratio.low, ratio.high]
    return {
        "us": {route: float(np.median(row)) / 1e3 for route, row in rounds.items()},
        "float_products": floats,
        "ratios": ratios,
        "reasons": reasons,
    }


if __name__ == "__main__":
    sys.exit(main())
