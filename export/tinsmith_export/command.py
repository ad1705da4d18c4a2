"""`tinsmith export`: arguments in, accuracy by stage and parity out."""

import argparse
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tinsmith_data import Dataset, load_dataset
from tinsmith_data.named import import_named
from tinsmith_data.options import WHAT, add_older
from tinsmith_data.quiet import import_tensorflow, results_alone
from tinsmith_data.sources import Kind, kind_of
from tinsmith_export.api import export, sensitivity
from tinsmith_export.errors import GateError
from tinsmith_export.inputs.sources import Source
from tinsmith_export.options import AUTO, RECIPES, Options
from tinsmith_export.progress import Progress
from tinsmith_export.record import as_json
from tinsmith_export.results import Exported
from tinsmith_export.summary import sensitivity_table, summary
from tinsmith_export.terminal import TerminalProgress
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import require_writable, write_whole


def configure_export(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith export`."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a Keras file, NAME.keras (Keras 3 or tf_keras) or NAME.h5, or a SavedModel folder",
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--data",
        metavar="DATA",
        help=f"calibration and evaluation data, such as the board will see: {WHAT}; default: "
        "mnist. uint8 (N, H, W, C) are pixels, floats are features. x_train calibrates, y_train "
        "helps to fine-tune, x_test and y_test evaluate; of undivided data a fifth evaluates. "
        "Labels are not needed. See docs/compiling.md",
    )
    add_older(data, "--dataset")
    add_older(data, "--calibration", "; it learns from training labels too")
    add_older(parser, "--data-dir", type=Path)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the bundle; default: NAME.tin beside the model"
    )
    _add_reading(parser)
    _add_quantization(parser)
    _add_results(parser)
    parser.set_defaults(run=_run)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """What a model file does not say of itself."""
    parser.add_argument(
        "--input-range",
        type=float,
        nargs=2,
        default=(0.0, 1.0),
        metavar=("LOW", "HIGH"),
        help="what the model takes for pixels 0 and 255; default: 0 1",
    )
    parser.add_argument(
        "--input-shape",
        type=int,
        nargs="+",
        metavar="SIZE",
        help="the input's H W C, for a model that takes several sizes or was not built",
    )
    parser.add_argument(
        "--output",
        metavar="NAME",
        help="compile one of several outputs alone; default: all",
    )
    parser.add_argument(
        "--custom-objects",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a layer class or function of your own that the file needs; may be given again",
    )


def _add_quantization(parser: argparse.ArgumentParser) -> None:
    """How to quantize, and what that may cost."""
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default=Options.recipe,
        help="ptq: calibrate, round, correct biases; calibrated: also search for narrower "
        "ranges; qat: also fine-tune; auto: the first of these that keeps to the limit on inputs "
        "held back, or the best, with layers kept float if need be; default: auto",
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
        help="inputs a step; default: 128, or as many as 2 GiB of tensors allow",
    )
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
        "--weight-bits",
        type=int,
        choices=(7, 8),
        default=Options.weight_bits,
        help="7: fewer bits where weights could overflow kernels on x86 without VNNI, for programs "
        "other than tinsmith that run a bundle's model file there; default: 8",
    )
    parser.add_argument(
        "--keep-float",
        action="append",
        default=[],
        metavar="LAYER",
        help="keep this layer's weights float; may be given again; "
        f"{AUTO}: as few layers as the limit needs",
    )
    parser.add_argument(
        "--sensitivity",
        action="store_true",
        help="measure what quantizing each layer costs and print a table; no bundle "
        "unless --out or --report is given too",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    """What is written and printed."""
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


def _run(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    model, report, verbose = arguments.model, arguments.report, arguments.verbose
    table_alone = arguments.sensitivity and not (arguments.out or report)
    out = arguments.out or _beside(model)
    if not table_alone:
        _require_places(arguments, out)
    if not model.exists():
        raise UsageError(f"{model}: no such model: make one with `tinsmith train`")
    progress = Progress() if arguments.quiet else TerminalProgress()
    failure = None
    with results_alone():
        samples = _find_data(arguments)
        options = replace(options, custom_objects=_custom_objects(arguments))
        try:
            if table_alone:
                rows = sensitivity(model, samples, options, progress, verbose)
            else:
                try:
                    exported = export(model, samples, out, options, progress, verbose)
                except GateError as error:
                    exported, failure = error.exported, error
                page = _page(exported) if report else None
        finally:
            progress.stop()
    if table_alone:
        table = json.dumps({"sensitivity": [asdict(row) for row in rows]})
        print(table if arguments.json else "\n".join(sensitivity_table(rows)))
        return 0
    if arguments.sensitivity and not arguments.json:
        print("\n".join(sensitivity_table(exported.sensitivities)), end="\n\n")
    print(as_json(exported) if arguments.json else "\n".join(summary(exported)))
    if page is not None:  # last: where it cannot be written, the rest has been told
        write_whole(report, page)
    if failure is not None:
        raise failure
    return 0


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        input_range=tuple(arguments.input_range),
        recipe=arguments.recipe,
        budget_s=arguments.budget,
        qat_steps=arguments.qat_steps,
        qat_batch=arguments.qat_batch,
        max_drop_pp=arguments.max_drop_pp,
        max_changed_pp=arguments.max_changed_pp,
        strict=arguments.strict,
        keep_rejected=arguments.keep_rejected,
        seed=arguments.seed,
        weight_bits=arguments.weight_bits,
        keep_float=tuple(arguments.keep_float),
        layer_errors=arguments.report is not None,
        sensitivity=arguments.sensitivity,
        input_shape=tuple(arguments.input_shape) if arguments.input_shape else None,
        output=arguments.output,
        verify_onnx=arguments.verify_onnx,
        release=arguments.release,
    )


def _seconds(text: str) -> float:
    """A time as people write it: `90s`, `10m`, `1.5h`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smh])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 10m or 1h, got {text!r}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def _find_data(arguments: argparse.Namespace) -> Dataset | Source:
    """What `--data` or an older option names, which tells at once if there is nothing."""
    named = arguments.calibration or arguments.data
    if named is None:
        return load_dataset(arguments.dataset or "mnist", arguments.data_dir, divided=True)
    if kind_of(named) is Kind.DATASET and not arguments.calibration:
        return load_dataset(named)
    return Source(named, learn_labels=not arguments.calibration)


def _beside(model: Path) -> Path:
    """The bundle of a model, where nobody says which."""
    if model.name in ("", ".."):
        raise UsageError(f"{model}: it gives the bundle no name: say one with --out FILE")
    return model.with_suffix(".tin")


def _require_places(arguments: argparse.Namespace, out: Path) -> None:
    """Checks that the results can be written, and that no file is lost by it."""
    sources = (arguments.model, arguments.data, arguments.dataset, arguments.calibration)
    taken = {Path(source).resolve() for source in sources if source}
    for path in (out, arguments.report, arguments.keep_rejected):
        if path is None:
            continue
        require_writable(path)
        if path.resolve() in taken:
            raise UsageError(f"{path}: expected a name of its own, got that of another file here")
        taken.add(path.resolve())


def _custom_objects(arguments: argparse.Namespace) -> dict[str, Any]:
    """The classes and functions that the user names, by their own names."""
    if arguments.custom_objects:
        import_tensorflow(arguments.verbose)  # first, for the user's module imports Keras as loudly
    found = {}
    for spec in arguments.custom_objects:
        value = import_named(spec)
        if not hasattr(value, "__name__"):
            raise UsageError(f"`{spec}`: expected a class or function, got {type(value).__name__}")
        found[value.__name__] = value
    return found


def _page(exported: Exported) -> bytes:
    from tinsmith_export.report import html  # it imports matplotlib

    return html(exported).encode()
