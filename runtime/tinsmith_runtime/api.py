"""The runtime's main function: `load` a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinsmith_runtime.backends import (
    BackendSpec,
    backends_of,
    find_backend,
    iter_backends,
    none_installed,
)
from tinsmith_runtime.bundle import Bundle, Manifest, Variant, read_bundle
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.executor import Engine
from tinsmith_runtime.model import Model
from tinsmith_runtime.selftest import require_passed, selftest_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Far more than a board has; an engine that is asked for millions takes the process down.
_MAX_THREADS = 256


def load(
    path: str | Path,
    backend: str = "auto",
    threads: int = 1,
    precision: str = "int8",
    trusted_keys: Sequence[str | Path | bytes] | None = None,
    selftest: bool = False,
) -> Model:
    """Loads a bundle on one engine, all of it checked.

    Args:
        path: a `.tin` file or a folder of the same content.
        backend: its name, such as `native`; or `auto`: the first that is installed and that the
            bundle has a model for.
        threads: how many threads the engine may use, 1 to 256.
        precision: `int8`, or `float` where the bundle carries the float model too.
        trusted_keys: public keys, each the path of a `.pub` file or PEM bytes: a bundle that none
            of them signed is refused. `None` takes any bundle, signed or not.
        selftest: run the self-test first, and refuse to load where it fails.

    Raises:
        UsageError: no such bundle, or a bad argument.
        BundleError: the bundle is damaged, of another version, not signed by a trusted key, or not
            what its manifest says.
        BackendError: the engine is missing, or the self-test failed.
    """
    if trusted_keys is None:
        bundle = read_bundle(path)
    else:
        from tinsmith_runtime.bundle.signature import read_trusted

        bundle = read_trusted(path, trusted_keys)
    if selftest:  # before this process opens the model
        require_passed(selftest_bundle(bundle))
    return open_model(bundle, backend, threads, precision)


def open_model(
    bundle: Bundle, backend: str = "auto", threads: int = 1, precision: str = "int8"
) -> Model:
    """Loads a bundle that has been read already; see `load`."""
    if type(threads) is not int or not 1 <= threads <= _MAX_THREADS:
        raise UsageError(f"threads: expected 1 to {_MAX_THREADS}, got {threads!r}")
    spec, variant = _choose(bundle.manifest.variants, backend, precision)
    engine = Engine(spec, bundle.manifest, variant, bundle.files[variant.file], threads)
    needed = [bundle.manifest.golden.file]
    needed += [v.file for v in bundle.manifest.variants if v.precision == "int8"]
    proof = Bundle(bundle.manifest, {file: bundle.files[file] for file in needed})
    return Model(variant, engine, proof)


def inspect(path: str | Path) -> Manifest:
    """Gives what a bundle says of itself; all of the bundle is checked, as `load` does."""
    return read_bundle(path).manifest


def _choose(
    variants: tuple[Variant, ...], backend: str, precision: str
) -> tuple[BackendSpec, Variant]:
    """The backend and the model file to run; no backend is looked for behind the one that fits."""
    asked = []
    for spec in iter_backends() if backend == "auto" else (find_backend(backend),):
        if backend == "auto" and spec.package is None:
            continue
        asked.append(spec.name)
        for variant in variants:
            if variant.format in spec.formats and variant.precision == precision:
                return spec, variant
    if not asked:
        raise none_installed()
    held = ", ".join(f"{v.precision} for {_runners(v.format)}" for v in variants)
    fitting = [v.format for v in variants if v.precision == precision]
    others = [spec for name in fitting for spec in backends_of(name) if not spec.package]
    extras = " or ".join(dict.fromkeys(f"'{spec.extra}'" for spec in others))
    cure = f": pip install {extras}" if extras and backend == "auto" else ""
    asks = f"{precision} for {' or '.join(asked)}"
    raise UsageError(f"the bundle holds {held}; asked for {asks}{cure}")


def _runners(model_format: str) -> str:
    return " or ".join(spec.name for spec in backends_of(model_format)) or model_format
