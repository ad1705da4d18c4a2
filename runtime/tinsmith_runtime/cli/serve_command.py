"""`tinsmith serve`: arguments in, a page and an API out."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinsmith_runtime.cli.run import add_trusted_key
from tinsmith_runtime.errors import printable

if TYPE_CHECKING:
    from tinsmith_runtime.serve.service import Service

EXAMPLES = """examples:
  tinsmith serve digits.tin                            # for this machine alone
  tinsmith serve /opt/models/digits --host 0.0.0.0     # for who has the token in the printed URL
  tinsmith serve digits.tin --camera                   # the page shows what the camera sees
  curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/v1/predict
"""

OPTIONS: dict[str, dict[str, Any]] = {
    "--host": {
        "default": "127.0.0.1",
        "metavar": "ADDRESS",
        "help": "the address to listen on, 0.0.0.0 for all (default 127.0.0.1: this machine "
        "alone); beyond this machine a token is asked for",
    },
    "--port": {"type": int, "default": 8000, "help": "0 takes a free one (default 8000)"},
    "--token-file": {
        "type": Path,
        "metavar": "FILE",
        "help": "holds the token, and is made if absent (default: a new token at each start)",
    },
    "--allow-host": {
        "action": "append",
        "default": [],
        "metavar": "NAME",
        "help": "another name that browsers may call this machine by; may be given several times",
    },
    "--camera": {
        "nargs": "?",
        "const": "0",
        "metavar": "SOURCE",
        "help": "show a camera of this machine, by its number (default 0), or a video file",
    },
    "--workers": {
        "type": int,
        "default": 1,
        "metavar": "N",
        "help": "predictions at once, each on a model of its own (default 1)",
    },
    "--backend": {
        "default": "auto",
        "metavar": "NAME",
        "help": "native, litert, onnx, another, or auto: the first installed (default)",
    },
    "--threads": {
        "type": int,
        "default": 1,
        "help": "threads of each worker's engine (default 1)",
    },
    "--max-body-kib": {
        "type": int,
        "default": 16 << 10,
        "metavar": "KIB",
        "help": "of a request's body, in KiB (default 16384)",
    },
    "--timeout": {
        "type": float,
        "default": 30.0,
        "metavar": "SECONDS",
        "help": "for a request, from its headers to the end of its answer (default 30)",
    },
}


def configure_serve(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith serve`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .tin file or folder")
    for option, more in OPTIONS.items():
        parser.add_argument(option, **more)
    add_trusted_key(parser)
    parser.add_argument("--json", action="store_true", help="print where the page is as JSON")
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from tinsmith_runtime.serve import ServeOptions, serve

    def ready(url: str, service: "Service") -> None:
        model = service.pool.model
        if arguments.json:
            said = json.dumps({"url": url, "engine": model.engine_version})
        else:
            said = printable(f"{arguments.bundle} on {model.engine_version}: {url}")
        print(said, flush=True)

    keys = arguments.trusted_keys
    options = ServeOptions(
        bundle=arguments.bundle,
        host=arguments.host,
        port=arguments.port,
        token_file=arguments.token_file,
        allow_hosts=tuple(arguments.allow_host),
        camera=arguments.camera,
        workers=arguments.workers,
        backend=arguments.backend,
        threads=arguments.threads,
        trusted_keys=None if keys is None else tuple(keys),
        max_body_bytes=arguments.max_body_kib << 10,
        timeout_s=arguments.timeout,
    )
    serve(options, ready)
    return 0
