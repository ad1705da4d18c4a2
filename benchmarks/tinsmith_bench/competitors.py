"""Other routes from the same model, measured beside the bundle: `--against`.

Who can make one is found through the entry-point group `tinsmith.competitors`; each is made in a
process of its own, since converters log, leak and crash. What comes out is put into a bundle of its
own, with the first bundle's manifest, so that the runtime runs it as it runs tinsmith's.
"""

import json
import pickle
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_bench.report_data import Failure
from tinsmith_bench.target import ModelRunner, Runner, Target
from tinsmith_bench.timing.child import parse_answer, run_python, send_answer
from tinsmith_bench.timing.latency import Watch
from tinsmith_bench.timing.limits import making_limit_s
from tinsmith_runtime import (
    Bundle,
    Manifest,
    TinsmithError,
    UsageError,
    Variant,
    installed_backends,
    read_bundle,
    write_bundle,
)
from tinsmith_runtime.backends import BackendSpec, backends_of
from tinsmith_runtime.bundle import keras_outputs, sha256
from tinsmith_runtime.errors import printable
from tinsmith_runtime.record import Rule

MAKERS, RUNNERS = "tinsmith.competitors", "tinsmith.runners"
# It is a line of the report.
_LONGEST_REASON = 1000


@dataclass(frozen=True)
class Competitor:
    """A route's result, as its maker's `CompetitorModel` describes it, in a file.

    Attributes:
        name: of the route.
        form: `tflite`, `onnx`, or the name of a runner.
        precision: for a person.
        size_bytes: of the model file.
        path: of a bundle with this model file alone, or of the model file itself if it has a
            runner of its own.
        integer: whether it takes and gives int8.
    """

    name: str
    form: str
    precision: str
    size_bytes: int
    path: Path
    integer: bool

    @property
    def is_bundle(self) -> bool:
        """Whether the runtime has an engine for it."""
        return bool(backends_of(self.form))


@dataclass(frozen=True)
class Answer:
    """What a route's process answers; the model file follows it.

    Attributes:
        form: see `Competitor`; so is `precision`.
        precision: for a person.
        codes: scale and zero point of the output, where the file takes and gives int8.
        activated: whether the file's outputs are probabilities already.
        misuse: what a person must do first, where it could not be made.
        reason: why else it could not be made.
    """

    form: Annotated[str, Rule("a short name", lambda form: form.isidentifier() or not form)] = ""
    precision: str = ""
    codes: tuple[float, int] | None = None
    activated: bool = False
    misuse: str = ""
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Material:
    """What a route may start from.

    Attributes:
        model: the Keras model's path.
        inputs: raw training inputs `(N, ...)`.
        targets: of these.
    """

    model: Path | None
    inputs: NDArray[Any] | None
    targets: NDArray[Any] | None


def check_names(names: Sequence[str]) -> None:
    """Refuses routes that nobody knows.

    Raises:
        UsageError: a name is unknown; the known ones are listed.
    """
    known = sorted(entry_points(group=MAKERS).names)
    for name in names:
        if name not in known:
            raise UsageError(f"--against: expected {', '.join(known)}; got {name!r}")


def make_competitors(
    names: Sequence[str], path: Path, material: Material, folder: Path, watch: Watch
) -> tuple[list[Competitor], list[Failure]]:
    """Goes each route, and says of those that failed why.

    Args:
        names: of the routes.
        path: the bundle that they are measured against.
        material: what they may start from.
        folder: where their files go.
        watch: is told how far it is.

    Raises:
        UsageError: a route lacks something that a person can give it.
    """
    check_names(names)
    bundle = read_bundle(path)
    competitors, failures = [], []
    for done, name in enumerate(dict.fromkeys(names), start=1):
        try:
            competitors.append(_make(name, bundle, material, folder))
        except UsageError:
            raise
        except TinsmithError as error:
            failures.append(Failure(name, str(error)))
        watch("competitors", done, len(names))
    return competitors, failures


def _make(name: str, bundle: Bundle, material: Material, folder: Path) -> Competitor:
    manifest = bundle.manifest
    floats = [v.file for v in manifest.variants if (v.format, v.precision) == ("onnx", "float")]
    arguments = {
        "model": material.model,
        "float_onnx": bundle.files[floats[0]] if floats else None,
        "inputs": None
        if material.inputs is None
        else as_floats(material.inputs, manifest.input.value_range),
        "labels": material.targets,
        "grid": (manifest.input.scale, manifest.input.zero_point),
        "entry": manifest.input,
    }
    # The child can trust this pickle; what comes back is parsed.
    sent = pickle.dumps((name, arguments))
    limit_s = making_limit_s(len(sent) + _size_of(material.model))
    said = run_python(["-m", "tinsmith_bench.competitors"], "its process", limit_s, sent)
    answer, data = parse_answer(Answer, said, "its process")
    if answer.misuse:
        raise UsageError(f"--against {name}: {answer.misuse}")
    if answer.reason:
        raise TinsmithError(answer.reason)
    form, codes = answer.form, answer.codes
    able = backends_of(form)
    if not able:
        file = folder / f"{name}.{form}"
        file.write_bytes(data)
    elif _installed(able) is None:
        raise TinsmithError(f"its engine is missing: pip install '{able[0].extra}'")
    else:
        file = folder / f"{name}.tin"
        _write(file, name, bundle, answer, data)
    return Competitor(name, form, answer.precision, len(data), file, codes is not None)


def _installed(able: Sequence[BackendSpec]) -> BackendSpec | None:
    return next((spec for spec in able if spec.name in installed_backends()), None)


def _size_of(model: Path | None) -> int:
    return model.stat().st_size if model and model.is_file() else 0


def as_floats(inputs: NDArray[Any], value_range: tuple[float, float] | None) -> NDArray[np.float32]:
    """Turns raw inputs into what the float model takes; the range is that of its pixels."""
    if inputs.dtype != np.uint8 or value_range is None:
        return inputs.astype(np.float32)
    low, high = value_range
    return (inputs * np.float32((high - low) / 255) + np.float32(low)).astype(np.float32)


def _write(path: Path, name: str, bundle: Bundle, answer: Answer, data: bytes) -> None:
    """Puts a model file into a bundle of its own, that of the measured bundle but for it."""
    form, codes = answer.form, answer.codes
    manifest = bundle.manifest
    variant = Variant(
        id=name,
        file=f"model.{form}",
        format=form,
        precision="float" if codes is None else "int8",
        size_bytes=len(data),
        sha256=sha256(data),
        accuracy=None,
    )
    (whole,) = keras_outputs(manifest.outputs)
    output = replace(
        manifest.output,
        name=whole.name,
        shape=(None, *whole.sample_shape),
        activation=whole.activation,
        part_of="",
        start=(),
    )
    if codes is not None:
        output = replace(output, scale=codes[0], zero_point=codes[1])
    if answer.activated:
        output = replace(output, activation="none")
    golden = manifest.golden.file
    files = {golden: bundle.files[golden], variant.file: data}
    write_bundle(path, replace(manifest, outputs=(output,), variants=(variant,)), files)


def competitor_target(competitor: Competitor, manifest: Manifest) -> Target:
    """What the benchmark is to measure of a competitor.

    Args:
        competitor: what was made.
        manifest: of the bundle that it is measured against.
    """
    opener: Any
    if able := backends_of(competitor.form):
        spec = _installed(able) or able[0]
        engine, precision = spec.name, "int8" if competitor.integer else "float"
        label, probe = f"{competitor.name} on {spec.title}", (competitor.path, engine, precision)
        opener = partial(ModelRunner, competitor.path, engine, precision)
    else:
        low, high = manifest.input.value_range or (0.0, 255.0)
        engine, label, probe = competitor.form, competitor.name, None
        opener = partial(_open, competitor.form, competitor.path, low, (high - low) / 255)
    return Target(
        id=competitor.name,
        bundle=competitor.name,
        name=label,
        engine=engine,
        precision=competitor.precision,
        file=f"{competitor.name}.{competitor.form}",
        size_bytes=competitor.size_bytes,
        open=opener,
        probe=probe,
    )


def _open(form: str, path: Path, low: float, scale: float, threads: int) -> Runner:
    """Opens a model that the runtime has no engine for."""
    (point,) = entry_points(group=RUNNERS, name=form)
    runner: Runner = point.load()(path, low, scale, threads)
    return runner


def answer_request(name: str, arguments: dict[str, Any]) -> tuple[Answer, bytes]:
    """Goes a route in this process; gives its `CompetitorModel` and the file, or why it failed."""
    (point,) = entry_points(group=MAKERS, name=name)
    try:
        made = point.load()(**arguments)
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: pip install 'tinsmith[compile]'"
        return Answer(misuse=missing), b""
    except UsageError as error:
        return Answer(misuse=str(error)), b""
    # Converters raise whatever they like; the reason is a line of the report.
    except Exception as error:
        lines = str(error).strip().splitlines() or ["it says nothing"]
        return Answer(
            reason=printable(f"{type(error).__name__}: {lines[0]}"[:_LONGEST_REASON])
        ), b""
    codes = made.codes and (float(made.codes[0]), int(made.codes[1]))
    answer = Answer(made.form, made.precision, codes, bool(made.activated))
    return answer, made.data


if __name__ == "__main__":
    answer, data = answer_request(*pickle.load(sys.stdin.buffer))
    send_answer(sys.argv[1], json.dumps(asdict(answer)).encode() + b"\n" + data)
