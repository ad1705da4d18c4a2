"""What is to be measured: variants, each with a way to open it.

Whoever adds a competitor (a Keras model, another quantizer's file) adds a `Target` for it; the rest
of the benchmark does not know where it comes from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from tinsmith_runtime import (
    BackendError,
    Bundle,
    Variant,
    installed_backends,
    load,
)
from tinsmith_runtime.backends import BackendSpec, Operator, backends_of, known_backends
from tinsmith_runtime.batch import Arrays, parts, rows

PRECISIONS = ("float", "int8")
# A longer name leaves no room for numbers in a table of 100 columns.
_MAX_NAME = 14


class Runner(Protocol):
    """A variant on its engine, ready to run.

    Attributes:
        engine_version: the engine and its version, for a person.
    """

    engine_version: str

    def encode(self, inputs: Arrays) -> Arrays:
        """Turns raw inputs `(N, ...)` into what the engine takes; a tuple of them if several."""

    def run(self, encoded: Arrays) -> Arrays:
        """The engine alone: raw outputs `(N, ...)`, whose largest is the class of a classifier."""

    def decode(self, outputs: Arrays) -> Arrays:
        """The numbers that raw outputs stand for, to compare them across engines."""

    def predict(self, inputs: Arrays) -> object:
        """As a product does it: from raw inputs `(N, ...)` to probabilities or values."""

    def answer(self, sample: Arrays) -> object:
        """All of it for one raw sample without the batch axis: a label, boxes, or values."""

    def profile(self, encoded: Arrays) -> tuple[Operator, ...]:
        """Which operators the engine runs and what each costs, on inputs one by one."""

    def close(self) -> None:
        """Frees the engine."""


@dataclass(frozen=True)
class Target:
    """A variant to measure.

    Attributes:
        id: see `report_data.Variant`; so are the others up to `size_bytes`.
        open: gives the variant on its engine, with so many threads. It is pickled: the timings are
            made in processes of their own.
        probe: what a fresh process needs to start it: the bundle's path, backend and precision;
            `None` where it cannot be started by itself.
    """

    id: str
    bundle: str
    name: str
    engine: str
    precision: str
    file: str
    size_bytes: int
    open: Callable[[int], Runner]
    probe: tuple[Path, str, str] | None


class ModelRunner:
    """A bundle's variant, run by the runtime; the arguments are those of `load`."""

    def __init__(self, path: Path, engine: str, precision: str, threads: int) -> None:
        self._model = model = load(path, engine, threads, precision)
        self.engine_version = model.engine_version
        self.encode, self.run, self.decode = model.encode, model.run, model.decode
        self.predict, self.profile, self.close = model.predict, model.profile, model.close

    def answer(self, sample: Arrays) -> object:
        """See `Runner.answer`."""
        if self._model.manifest.boxes:
            return self._model.detect(parts(sample)[0])
        if self._model.labels and not isinstance(sample, tuple):
            return self._model.classify(sample, top=1)
        return self._model.predict(rows(sample, np.newaxis))


def bundle_targets(name: str, path: Path, bundle: Bundle, prefix: str) -> Iterator[Target]:
    """What a bundle holds for the engines that are installed, float before int8.

    Args:
        name: what the report calls the bundle.
        path: where it is.
        bundle: what was read from there.
        prefix: goes before each id, and before each name: empty where it is the only bundle.

    Raises:
        BackendError: no engine is installed for which it holds a model.
    """
    installed, variants = installed_backends(), bundle.manifest.variants
    able = [spec for spec in known_backends() if any(v.format in spec.formats for v in variants)]
    if not able:
        formats = ", ".join(dict.fromkeys(variant.format for variant in variants))
        raise BackendError(f"the bundle holds {formats}: no backend that is known here runs that")
    if not any(spec.name in installed for spec in able):
        extras = " or ".join(f"'{spec.extra}'" for spec in able)
        raise BackendError(f"no engine for this bundle is installed: pip install {extras}")
    for spec in able:
        for precision in PRECISIONS if spec.name in installed else ():
            for variant in variants:
                if variant.format in spec.formats and variant.precision == precision:
                    yield _target(name, path, variant, spec, prefix)


def _target(name: str, path: Path, variant: Variant, spec: BackendSpec, prefix: str) -> Target:
    # A second backend for the same file has its name in the id.
    is_first = backends_of(variant.format)[0] == spec
    variant_id = variant.id if is_first else f"{variant.id}-{spec.name}"
    return Target(
        id=f"{prefix}/{variant_id}" if prefix else variant_id,
        bundle=name,
        name=f"{prefix}: {variant.precision} on {spec.title}".removeprefix(": "),
        engine=spec.name,
        precision=variant.precision,
        file=variant.file,
        size_bytes=variant.size_bytes,
        open=partial(ModelRunner, path, spec.name, variant.precision),
        probe=(path, spec.name, variant.precision),
    )


def bundle_names(paths: Sequence[Path]) -> list[str]:
    """A short name for each bundle, no two alike: the file's, or A, B and so on."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems) and max(map(len, stems)) <= _MAX_NAME:
        return stems
    return [chr(ord("A") + number) for number in range(len(paths))]
