"""Whether packages of an extra are there, asked before the work that needs them at its end."""

from importlib.util import find_spec

from tinsmith_runtime.errors import UsageError


def require_installed(extra: str, *packages: str) -> None:
    """Looks for packages without importing them.

    Args:
        extra: what installs them, as `tinsmith[html]`.
        packages: their imports.

    Raises:
        UsageError: one is not there; the message says what installs it.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)}: not installed: pip install '{extra}'")
