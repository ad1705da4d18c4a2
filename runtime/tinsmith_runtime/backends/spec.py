"""What is known of an engine before it is imported."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tinsmith_runtime.backends.diagnosis import explain, raised_by_import
from tinsmith_runtime.errors import BackendError
from tinsmith_runtime.quiet import mute_stderr
from tinsmith_runtime.record import frozen_dataclass

if TYPE_CHECKING:
    from tinsmith_runtime.backends.protocol import Backend


@frozen_dataclass(frozen=True)
class BackendSpec:
    """An engine, by what has to be known of it before it is imported.

    A distribution offers one by an entry point of its name in the group `tinsmith.backends`.

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
        # To look for `a.b` would import `a`, and raise where there is none.
        return next((one for one in self.packages if find_spec(one.partition(".")[0])), None)

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
            raise BackendError(explain(package, self.extra, error)) from error
        return backend(model, threads)
