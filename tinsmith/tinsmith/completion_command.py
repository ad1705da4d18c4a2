"""`tinsmith completion`: prints the script for a shell."""

import argparse
import sys

from tinsmith.shells import PLACES, SHELLS, completion

EPILOG = "where shells look for it:\n" + "\n".join(
    f"  tinsmith completion {shell} > {place}" for shell, place in PLACES.items()
)


def configure_completion(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith completion`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{EPILOG}\nzsh looks there after `fpath+=~/.zfunc` and before `compinit`"
    parser.add_argument("shell", choices=tuple(SHELLS), help=" or ".join(SHELLS))
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    sys.stdout.write(completion(arguments.shell))
    return 0
