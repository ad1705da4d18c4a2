"""The arguments of `tinsmith export`."""

import argparse
import re
from pathlib import Path

from tinsmith_data.options import WHAT, add_older
from tinsmith_export.options import AUTO, FITS, RECIPES, Options
from tinsmith_export.reading_arguments import add_boxes, add_model, add_reading
from tinsmith_export.targets.names import TARGET_NAMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith export`."""
    add_model(parser)
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--data",
        metavar="DATA",
        help=f"calibration and evaluation data, such as the board will see: {WHAT}; default: "
        "mnist. uint8 (N, H, W, C) are pixels, floats are features. x_train calibrates, y_train "
        "helps to fine-tune, x_test and y_test evaluate; of undivided data a fifth evaluates. "
        "Labels are not needed. See docs/how-to/compile.md",
    )
    add_older(data, "--dataset")
    add_older(data, "--calibration", "; it learns from training labels too")
    add_older(parser, "--data-dir", type=Path)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the bundle; default: NAME.tin beside the model"
    )
    add_reading(parser)
    add_boxes(parser)
    _add_fit(parser)
    _add_quantization(parser)
    _add_limits(parser)
    _add_results(parser)


def _add_fit(parser: argparse.ArgumentParser) -> None:
    """How image files get the model's size."""
    parser.add_argument(
        "--fit",
        choices=FITS,
        default=Options.fit,
        help="how image files get the model's size, those of --data too: stretch; contain: keep "
        "the proportions, with a border; crop: keep them, cut the rest off; default: stretch",
    )
    parser.add_argument(
        "--padding",
        type=int,
        default=Options.padding,
        metavar="VALUE",
        help="the pixels of the border of --fit contain, 0 to 255; default: 0",
    )


def _add_quantization(parser: argparse.ArgumentParser) -> None:
    """How to quantize."""
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default=Options.recipe,
        help="ptq: calibrate, round, correct biases; calibrated: also fit the rounded weights to "
        "the inputs, and search for narrower ranges; qat: calibrate and fine-tune; auto: the first "
        "of these that keeps to the limit on inputs held back, or the best, with layers kept "
        "float if need be; default: auto",
    )
    parser.add_argument(
        "--budget",
        type=_seconds,
        default=Options.budget_s,
        metavar="TIME",
        help="how long auto may take to quantize, about: 90s, 10m or 1h; default: 10m",
    )
    parser.add_argument(
        "--qat-steps",
        type=int,
        default=Options.qat_steps,
        metavar="N",
        help=f"steps of fine-tuning, with auto at most; default: {Options.qat_steps}",
    )
    parser.add_argument(
        "--qat-batch",
        type=int,
        metavar="N",
        help="inputs a step; default: 128, or as many as 1.5 GiB of tensors allow",
    )
    parser.add_argument(
        "--weight-bits",
        type=int,
        choices=(7, 8),
        default=Options.weight_bits,
        help="7: fewer bits where weights could overflow kernels on x86 without VNNI, for programs "
        "other than tinsmith that run a bundle's model file there; default: 8",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """What quantizing may cost, and what stays float."""
    parser.add_argument(
        "--max-drop-pp",
        type=float,
        default=Options.max_drop_pp,
        metavar="PP",
        help="fail if int8 certainly (95 %%) loses more percentage points of accuracy; where the "
        f"evaluation data have labels; default: {Options.max_drop_pp:g}",
    )
    parser.add_argument(
        "--max-changed-pp",
        type=float,
        default=Options.max_changed_pp,
        metavar="PP",
        help="fail if int8 certainly (95 %%) changes more percent of the float model's answers; "
        f"where there are no labels; default: {Options.max_changed_pp:g}",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail too if there are too few evaluation inputs to say that int8 keeps to the limit",
    )
    parser.add_argument(
        "--keep-float",
        action="append",
        default=[],
        metavar="LAYER",
        help="keep this layer float, and what lies between two of them; may be given again; "
        f"{AUTO}: as few layers as the limit needs",
    )
    parser.add_argument(
        "--sensitivity",
        action="store_true",
        help="measure what quantizing each layer costs and print a table; no bundle "
        "unless --out, --report or --node-data is given too",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    """What is written and printed."""
    parser.add_argument(
        "--targets",
        type=target_names,
        metavar="NAMES",
        help=f"what the bundle holds files for, separated by commas: {', '.join(TARGET_NAMES)}; "
        "default: all whose files can hold the model",
    )
    parser.add_argument(
        "--verify-onnx",
        action="store_true",
        help="compare the float files with an ONNX file that tf2onnx makes of the model, "
        "independently; fail if an output differs",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write the verification as an HTML page, with plots",
    )
    parser.add_argument(
        "--node-data",
        type=Path,
        metavar="FILE",
        help="write the error of each layer as JSON, with which Google's Model Explorer colours "
        "the int8 file; with --sensitivity, what each layer alone costs; "
        "see docs/how-to/find-the-loss.md",
    )
    parser.add_argument(
        "--keep-rejected",
        type=Path,
        metavar="FILE",
        help="keep the bundle there if a gate fails, which is still exit status 1",
    )
    parser.add_argument(
        "--release",
        type=int,
        default=0,
        metavar="N",
        help="a number that grows with each bundle for a device; "
        "`tinsmith install` refuses a lower one; default: 0",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="no progress, only results")
    loudness.add_argument("--verbose", action="store_true", help="let TensorFlow log")


def target_names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(","))


def _seconds(text: str) -> float:
    """A time as people write it: `90s`, `10m`, `1.5h`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smh])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 10m or 1h, got {text!r}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
