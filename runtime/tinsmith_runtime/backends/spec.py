"""What is known of an engine before it is imported."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from tinsmith_runtime.backends.origin import raised_by_import
from tinsmith_runtime.errors import BackendError
from tinsmith_runtime.frozen import frozen_dataclass
from tinsmith_runtime.quiet import mute_stderr

if TYPE_CHECKING:
    from tinsmith_runtime.backends.protocol import Backend


@frozen_dataclass(frozen=True)
class BackendSpec:
    """An engine, by what has to be known of it before it is imported.

    A distribution offers one through the entry point group `tinsmith.backends`: the entry point has
    the backend's name and points to its `BackendSpec`.

    Attributes:
        name: what `backend=` and `--backend` call it.
        title: what reports call it.
        formats: the formats of a bundle's variants that it runs.
        packages: imports of which one must be there; the first that is found is taken.
        extra: what `pip install` takes to install it, for example `tinsmith-runtime[litert]`.
        opens: its `Backend`, as `module:class`; the module may import the engine.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    packages: tuple[str, ...]
    extra: str
    opens: str

    @property
    def package(self) -> str | None:
        """The import that it runs on here; `None` where none of `packages` is installed."""
        return next(filter(_is_there, self.packages), None)

    def open(self, model: bytes, threads: int) -> Backend:
        """Loads a model file.

        Args:
            model: the bytes of a file in one of `formats`, whose hash has been checked.
            threads: how many threads the engine may use.

        Raises:
            BackendError: the engine is not installed or does not start.
            BundleError: the engine refuses the model.
        """
        package = self.package
        if package is None:
            raise BackendError(f"{self.packages[0]} is not installed: pip install '{self.extra}'")
        module, _, kind = self.opens.partition(":")
        before = set(sys.modules)
        try:
            with mute_stderr():  # numpy 2 prints a page about a module that numpy 1 compiled
                backend: type[Backend] = getattr(importlib.import_module(module), kind)
        # A native module for another CPU or another numpy fails with whatever it likes.
        except Exception as error:
            if not raised_by_import(error, before):
                raise
            from tinsmith_runtime.backends.trouble import explain

            raise BackendError(explain(package, self.extra, error)) from error
        return backend(model, threads)


def _is_there(package: str) -> bool:
    """Does what `importlib.util.find_spec` does, without its half millisecond of imports."""
    if package in sys.modules:
        return sys.modules[package] is not None
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    return any(finder.find_spec(package, None) for finder in finders)
