"""What a user names as `module:NAME`: a class or function of their own.

The module may lie in the folder that the command is typed in, and so may those that it imports, at
its top or inside its functions. So this folder is looked in while the module is imported and while
a function of it is called, after all other places: a file there that is named like a module of
Python's or of a library never takes its place. Afterwards `sys.path` is as it was.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinsmith_runtime.errors import UsageError


def import_named(spec: str) -> Any:
    """Imports a module, which runs it, and gives what it holds under a name.

    Args:
        spec: `module:NAME`; the module may lie in the current folder.

    Raises:
        UsageError: there is no such module, it cannot be imported, it is another than the one in
            this folder, or it holds no such name.
    """
    module_name, _, name = spec.partition(":")
    with current_folder():
        importlib.invalidate_caches()  # the file may be newer than what Python knows of the folder
        try:
            module = importlib.import_module(module_name)
            value = getattr(module, name)
        except (ImportError, AttributeError, ValueError, SyntaxError) as error:
            raise UsageError(f"`{spec}`: expected module:NAME: {error}") from error
        except (Exception, SystemExit) as error:  # what runs is the user's
            raise UsageError(
                f"`{spec}`: its module raised {type(error).__name__}: {error}"
            ) from error
    _require_own(spec, module_name.partition(".")[0])
    return value


@contextlib.contextmanager
def current_folder() -> Iterator[None]:
    """Looks for modules in the current folder too, after all other places."""
    folder = os.getcwd()  # noqa: PTH109 `sys.path` holds text
    if {"", folder} & set(sys.path):
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the module has changed `sys.path` itself
            sys.path.remove(folder)


def _require_own(spec: str, package: str) -> None:
    """Refuses a module that stands in the way of one of the same name in this folder."""
    own = [path for path in (Path(f"{package}.py"), Path(package, "__init__.py")) if path.is_file()]
    found = getattr(sys.modules[package], "__file__", None)
    if own and (found is None or Path(found).resolve() not in [path.resolve() for path in own]):
        raise UsageError(
            f"`{spec}`: Python has another module {package} ({found or 'built in'}): give "
            f"{own[0]} a name of its own"
        )
