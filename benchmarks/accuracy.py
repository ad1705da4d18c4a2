r"""What int8 loses on trained models, tinsmith's and that of other routes, on the same inputs.

    python benchmarks/accuracy.py all --write docs/accuracy.md
    python benchmarks/accuracy.py resnet8=resnet8.h5,cifar10.npz,0,255 --write docs/accuracy.md
    python benchmarks/accuracy.py lite0=lite0.keras,photographs.zip,-0.9921875,1 \
        --calibration 200 --rotations 5 --routes ptq,tflite-ptq,tflite-ptq-logits

A model is `cnn`, `lenet`, `mlp`, `softmax` or `softmax-0.25`, trained on MNIST unless --runs has it
already; `all` of these; or NAME=FILE,DATA,LOW,HIGH: an image classifier; what `--data` of tinsmith
takes, or a .zip file of images whose names begin with the number of their class; and what the model
takes for pixels 0 and 255. Rows of other models that the file to write has already, it keeps.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from measurements import COLUMNS, Answers, Measurement, as_answers, measure, row
from pages import table_head, write
from routes import OURS, ROUTES
from subjects import (
    DEMO,
    Subject,
    add_arguments,
    check_arguments,
    check_routes,
    go,
    prepare,
    requests,
    shown,
    splits,
    take,
)
from tinsmith_runtime import TinsmithError, UsageError

TITLE = "What int8 loses on trained models"
NOTE = """\
All routes have the same inputs to calibrate on, without labels, and answer the same others.
Accuracy, and the part of inputs that get float's class, have 95 % intervals (Wilson). p is that of
McNemar's exact test against float. Without labels, "lost" counts answers that changed, and p is of
the exact test that more than 2 % change. Of K x inputs, a cell is the mean over K sets of
calibration data, and in brackets the worst; p is the least. SQNR of small models depends on which
inputs calibrate: so all routes have the same K sets of the training data, and answer the same test
data each time. Without such a division, what does not calibrate is answered. `softmax` is trained
with `--learning-rate 0.005`, `softmax-0.25` at its default rate, where it is unstable: its logits
are hundreds, a code is a step of 3 or 4, and the few images between two classes decide its SQNR.

- `float`: TensorFlow's converter, without quantization.
- `ptq` and `auto`: tinsmith by that recipe, with its defaults. Time includes its verification.
- `tflite-ptq`: TensorFlow's converter with a representative dataset; for `tflite-ptq-logits` the
  model was cut before its softmax, since int8 probabilities are coarse.
- `ort-ptq`: ONNX Runtime's `quantize_static` by channel, on tinsmith's float ONNX file, whose
  making is not counted.
- `naive`: TFMOT's `quantize_model`, an epoch on float's own answers, TensorFlow's converter,
  tf2onnx. TFMOT's guide trains on thousands of labelled images. So few as here do not bring its
  ranges, which begin at -6 and 6, to where they belong.

It holds if no loss is significant at 95 %, with any set; for `ptq`, if also the SQNR is no lower
than in either file of TensorFlow's (of what the file gives; of several sets the mean, and the row
says with how many it is lower; ± is half the 95 % interval of a difference), and float's class not
significantly rarer. Each route has its own process; its peak memory is the system's count."""
_LEFT_OUT = ("calibrated", "qat")  # `auto` tries them


def main() -> int:
    """Measures each model; gives 1 if a route of tinsmith fails or does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    default = ",".join(route for route in ROUTES if route not in _LEFT_OUT)
    parser.add_argument("--routes", default=default, help=f"of {', '.join(ROUTES)}")
    parser.add_argument("--rotations", type=int, default=1, metavar="K", help="divisions of data")
    arguments = parser.parse_args()
    try:
        check_arguments(arguments)
        if arguments.rotations < 1:
            raise UsageError(f"--rotations: expected 1 or more, got {arguments.rotations}")
        return _measure_all(arguments, check_routes(arguments.routes))
    except TinsmithError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


def _measure_all(arguments: argparse.Namespace, routes: Sequence[str]) -> int:
    lines = table_head(COLUMNS, 3, 1)
    print("\n".join(lines))
    failed = False
    for name, request in requests(arguments):
        with tempfile.TemporaryDirectory() as folder:
            found = _rows(prepare(name, request, Path(folder)), routes, arguments)
        for route, line in found.items():
            print(line, flush=True)
            failed |= route in OURS and "| no: " in line
        lines += found.values()
        if arguments.write:
            write(arguments.write, TITLE, "\n".join(lines), 3, (*DEMO, *ROUTES), NOTE)
    return int(failed)


def _rows(subject: Subject, routes: Sequence[str], arguments: argparse.Namespace) -> dict[str, str]:
    """A row for each route; where one fails, it says why."""
    found: dict[str, list[Measurement]] = {route: [] for route in routes}
    failures: dict[str, str] = {}
    divisions = splits(subject, arguments.calibration, arguments.evaluation, arguments.rotations)
    for division in divisions:
        take(subject, *division)
        answers: dict[str, Answers] = {}
        for route in routes:
            if route in failures:
                continue
            try:
                cost = go(subject, route)
            except TinsmithError as error:
                if route == "float":
                    raise
                failures[route] = str(error)
                continue
            answers[route] = as_answers(np.load(subject.folder / f"{route}.npy"), cost)
        labels = None if subject.labels is None else subject.labels[division[1]]
        for route, measured in measure(answers, labels).items():
            found[route].append(measured)
    inputs = shown(division, arguments.rotations)
    return {
        route: row(subject.name, inputs, route, found[route], failures.get(route, ""))
        for route in routes
    }


if __name__ == "__main__":
    sys.exit(main())
