"""`tinsmith install`, `boot` and `confirm`: arguments in, results out."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tinsmith_runtime.cli.run import add_trusted_key
from tinsmith_runtime.deploy.lock import WAIT_S
from tinsmith_runtime.deploy.switch import Switch
from tinsmith_runtime.deploy.trial import boot, confirm
from tinsmith_runtime.errors import UsageError, printable


def configure_install(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith install`."""
    parser.epilog = "example: tinsmith install digits.tin /opt/models/digits"
    parser.add_argument(
        "bundle", nargs="?", type=Path, metavar="BUNDLE", help="a .tin file or folder"
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="the folder that programs load; created if absent",
    )
    parser.add_argument(
        "--rollback", action="store_true", help="go back to the previous bundle; takes FOLDER alone"
    )
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="put the bundle on trial: the second `tinsmith boot` goes back to the previous "
        "bundle, unless `tinsmith confirm` was called",
    )
    parser.add_argument(
        "--allow-downgrade",
        action="store_true",
        help="accept an older release than FOLDER has had",
    )
    parser.add_argument(
        "--allow-failed",
        action="store_true",
        help="accept a bundle that failed its trial in FOLDER, or a gate of its export",
    )
    add_trusted_key(parser, more="; FOLDER keeps the keys for every later install")
    _add_common(parser)
    parser.set_defaults(run=_install)


def configure_boot(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith boot`."""
    parser.epilog = (
        "Records the first start of a bundle on trial; at the second, goes back to the "
        "previous bundle. Does nothing without a trial."
    )
    _add_folder(parser)
    parser.set_defaults(run=_boot)


def configure_confirm(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith confirm`."""
    parser.epilog = "Does nothing without a trial."
    _add_folder(parser)
    parser.set_defaults(run=_confirm)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="an installed folder")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        type=float,
        default=WAIT_S,
        metavar="SECONDS",
        help=f"how long to wait for another install to end (default {WAIT_S:g})",
    )
    said = parser.add_mutually_exclusive_group()
    said.add_argument("--json", action="store_true", help="what is installed now, as JSON")
    said.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _install(arguments: argparse.Namespace) -> int:
    from tinsmith_runtime.deploy.install import install, rollback

    bundle, folder = arguments.bundle, arguments.folder
    if arguments.rollback == (bundle is not None):
        expected = "FOLDER alone" if arguments.rollback else "BUNDLE FOLDER, or --rollback FOLDER"
        raise UsageError(f"install: expected {expected}")
    keys = arguments.trusted_keys
    if arguments.rollback:
        for option in ("confirm", "allow_downgrade", "allow_failed"):
            if getattr(arguments, option):
                name = option.replace("_", "-")
                raise UsageError(f"install: --{name} does not go with --rollback")
        done = rollback(folder, keys, wait_s=arguments.wait)
    else:
        done = install(
            bundle,
            folder,
            keys,
            confirm=arguments.confirm,
            allow_downgrade=arguments.allow_downgrade,
            allow_failed=arguments.allow_failed,
            wait_s=arguments.wait,
        )
    what = "rolled back to" if arguments.rollback else "installed"
    what = what if done.changed else "already holds"
    return _tell(arguments, done, f"{what} {done.current[:12]}")


def _boot(arguments: argparse.Namespace) -> int:
    done = boot(arguments.folder, wait_s=arguments.wait)
    what = "went back to" if done.changed else "starts"
    return _tell(arguments, done, f"{what} {done.current[:12]}")


def _confirm(arguments: argparse.Namespace) -> int:
    done = confirm(arguments.folder, wait_s=arguments.wait)
    what = "confirmed" if done.changed else "nothing on trial: holds"
    return _tell(arguments, done, f"{what} {done.current[:12]}")


def _tell(arguments: argparse.Namespace, done: Switch, what: str) -> int:
    for warning in done.warnings:
        print(f"tinsmith: warning: {printable(warning)}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(asdict(done)))
    elif not arguments.quiet:
        trial = ", on trial" if done.on_trial else ""
        kept = f"keeps {done.previous[:12]}" if done.previous else "keeps no previous bundle"
        print(f"{printable(done.folder)}: {what}{trial}, {kept}")
    return 0
