"""What a user names as `module:NAME`: a class or function of their own."""

import importlib
import sys
from typing import Any

from tinsmith_runtime.errors import UsageError


def import_named(spec: str) -> Any:
    """Imports a module, which runs it, and gives what it holds under a name.

    Args:
        spec: `module:NAME`; the module may lie in the current folder.

    Raises:
        UsageError: there is no such module, it cannot be imported, or it holds no such name.
    """
    module_name, _, name = spec.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: a user's own module lies in this folder
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise UsageError(f"`{spec}`: expected module:NAME: {error}") from error
