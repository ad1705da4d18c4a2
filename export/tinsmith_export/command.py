"""`tinsmith export`: arguments in, accuracy by stage and parity out."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from tinsmith_data import Dataset, load_dataset
from tinsmith_data.installed import require_installed
from tinsmith_data.quiet import results_alone
from tinsmith_data.sources import Kind, kind_of
from tinsmith_export.api import export, sensitivity
from tinsmith_export.arguments import add_arguments
from tinsmith_export.errors import FloatChoiceError, GateError
from tinsmith_export.inputs.sources import Source
from tinsmith_export.node_data import node_data
from tinsmith_export.options import Options
from tinsmith_export.progress import Progress
from tinsmith_export.reading_arguments import custom_objects, reading_options
from tinsmith_export.record import as_json
from tinsmith_export.results import Exported
from tinsmith_export.summary import sensitivity_table, summary
from tinsmith_export.terminal import TerminalProgress
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.files import require_writable, write_whole


def configure_export(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith export`."""
    add_arguments(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    model, report, verbose = arguments.model, arguments.report, arguments.verbose
    table_alone = arguments.sensitivity and not (arguments.out or report or arguments.node_data)
    out = arguments.out or _beside(model)
    if not table_alone:
        _require_places(arguments, out)
    if report:
        require_installed("tinsmith[html]", "jinja2", "matplotlib")
    if arguments.verify_onnx:
        require_installed("tinsmith[compile]", "tf2onnx")
    if not model.exists():
        raise UsageError(f"{model}: no such model: make one with `tinsmith train`")
    progress = Progress() if arguments.quiet else TerminalProgress()
    failure: FloatChoiceError | GateError | None = None
    with results_alone():
        samples = _find_data(arguments)
        options = replace(options, custom_objects=custom_objects(arguments))
        try:
            if table_alone:
                rows = sensitivity(model, samples, options, progress, verbose)
            else:
                exported = export(model, samples, out, options, progress, verbose)
        except FloatChoiceError as error:
            rows, failure = error.sensitivities, error
        except GateError as error:
            exported, failure = error.exported, error
        finally:
            progress.stop()
        page = _page(exported) if report else None
    if table_alone:
        table = json.dumps({"sensitivity": [asdict(row) for row in rows]})
        print(table if arguments.json else "\n".join(sensitivity_table(rows)))
        if failure is not None:
            raise failure
        return 0
    if arguments.sensitivity and not arguments.json:
        print("\n".join(sensitivity_table(exported.sensitivities)), end="\n\n")
    print(as_json(exported) if arguments.json else "\n".join(summary(exported)))
    if arguments.node_data:  # last: where it cannot be written, the rest has been told
        write_whole(arguments.node_data, node_data(exported).encode())
    if page is not None:
        write_whole(report, page)
    if failure is not None:
        raise failure
    return 0


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
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
        layer_errors=bool(arguments.report or arguments.node_data),
        sensitivity=arguments.sensitivity,
        targets=arguments.targets,
        verify_onnx=arguments.verify_onnx,
        release=arguments.release,
        fit=arguments.fit,
        padding=arguments.padding,
        **reading_options(arguments),
    )


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
    read = ("model", "data", "dataset", "calibration", "boxes")
    sources = (getattr(arguments, name) for name in read)
    taken = {Path(source).resolve() for source in sources if source}
    for path in (out, arguments.report, arguments.node_data, arguments.keep_rejected):
        if path is None:
            continue
        require_writable(path)
        if path.resolve() in taken:
            raise UsageError(f"{path}: expected a name of its own, got that of another file here")
        taken.add(path.resolve())


def _page(exported: Exported) -> bytes:
    from tinsmith_export.report import html  # it imports matplotlib

    return html(exported).encode()
