"""`tinsmith serve`: a page and an HTTP API for one bundle; the extra `[serve]`."""

from tinsmith_runtime.serve.options import ServeOptions
from tinsmith_runtime.serve.server import serve

__all__ = ["ServeOptions", "serve"]
