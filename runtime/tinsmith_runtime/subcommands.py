"""`tinsmith run`, `inspect`, `selftest` and the signatures: thin skins over functions."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tinsmith_runtime.bundle import read_bundle
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.install import install, rollback
from tinsmith_runtime.manifest import Manifest
from tinsmith_runtime.model import load
from tinsmith_runtime.selftest import selftest
from tinsmith_runtime.signature import Signer, generate_key, sign_bundle, verify_bundle

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")


def configure_run(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith run`."""
    _add_bundle(parser)
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="a PNG, JPEG or .npy file, or a folder",
    )
    parser.add_argument(
        "--backend", default="auto", help="litert, onnx or auto, the first installed (default)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of the engine (default 1)")
    parser.add_argument("--top", type=int, default=1, help="classes to print an image (default 1)")
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    parser.set_defaults(run=_run)


def configure_inspect(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith inspect`."""
    _add_bundle(parser)
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")
    parser.set_defaults(run=_inspect)


def configure_selftest(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith selftest`."""
    _add_bundle(parser)
    parser.add_argument("--json", action="store_true", help="the results as JSON")
    parser.set_defaults(run=_selftest)


def configure_keygen(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith keygen`."""
    parser.add_argument("name", metavar="NAME", help="writes NAME.key, secret, and NAME.pub")
    parser.add_argument("--json", action="store_true", help="the key's name and sha256 as JSON")
    parser.set_defaults(run=_keygen)


def configure_sign(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith sign`."""
    _add_bundle(parser)
    parser.add_argument("--key", required=True, type=Path, help="the private key, NAME.key")
    parser.add_argument("--out", type=Path, help="the .tin file to write (default: BUNDLE itself)")
    parser.add_argument("--json", action="store_true", help="who signed what, as JSON")
    parser.set_defaults(run=_sign)


def configure_verify(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith verify`."""
    _add_bundle(parser)
    parser.add_argument(
        "--key",
        required=True,
        action="append",
        type=Path,
        help="a public key to trust, NAME.pub; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="who signed what, as JSON")
    parser.set_defaults(run=_verify)


def configure_install(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tinsmith install`."""
    parser.epilog = "example: tinsmith install digits.tin /opt/models/digits"
    parser.add_argument(
        "bundle", nargs="?", type=Path, metavar="BUNDLE", help="a .tin file or folder"
    )
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the folder that programs load; made if absent"
    )
    parser.add_argument(
        "--rollback", action="store_true", help="go back to the bundle before; takes FOLDER alone"
    )
    said = parser.add_mutually_exclusive_group()
    said.add_argument("--json", action="store_true", help="what is installed now, as JSON")
    said.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(run=_install)


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .tin file or folder")


def _run(arguments: argparse.Namespace) -> int:
    if arguments.top < 1:
        raise UsageError(f"--top: expected a number from 1, got {arguments.top}")
    status = 0
    with load(arguments.bundle, arguments.backend, arguments.threads) as model:
        for path in _image_files(arguments.images):
            try:
                predictions = model.classify(path, arguments.top)
            except UsageError as error:
                print(f"tinsmith: error: {error}", file=sys.stderr)
                status = 1
                continue
            if arguments.json:
                found = [asdict(prediction) for prediction in predictions]
                print(json.dumps({"image": str(path), "predictions": found}))
            else:
                words = "  ".join(f"{p.label} {p.probability:.1%}" for p in predictions)
                print(f"{path}: {words}")
    return status


def _image_files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise UsageError(f"{path}: expected images ({', '.join(IMAGE_SUFFIXES)}), found none")
        yield from files


def _inspect(arguments: argparse.Namespace) -> int:
    bundle = read_bundle(arguments.bundle)
    if arguments.json:
        print(json.dumps(asdict(bundle.manifest), indent=1))
    else:
        print("\n".join(describe(bundle.manifest)))
    return 0


def describe(manifest: Manifest) -> list[str]:
    """Says in words, a line each, what a manifest holds."""
    entry, output, training = manifest.input, manifest.output, manifest.training
    parity = manifest.quality.parity
    size = " x ".join(str(n) for n in entry.shape[1:])
    low, high = entry.value_range
    bits = ", ".join(f"{layer.name} {layer.weight_bits}" for layer in manifest.layers)
    versions = ", ".join(f"{name} {found}" for name, found in manifest.made_with.items())
    lines = [
        f"input     {entry.name}: {size} uint8 pixels, standing for {low:g} to {high:g}",
        f"output    {output.name}: {len(output.labels)} classes ({', '.join(output.labels)}), "
        f"{output.activation} applied by the runtime",
        f"trained   {training.model} on {training.dataset}, seed {training.seed}",
        f"quantized {training.recipe}, {training.qat_epochs} epochs of fine-tuning",
        f"weights   bits a layer: {bits}",
        "files",
    ]
    for variant in manifest.variants:
        accuracy = "" if variant.accuracy is None else f", {variant.accuracy:.2%} correct"
        lines.append(
            f"  {variant.file:<20} {variant.precision:<5} {variant.size_bytes:>9,} bytes{accuracy}"
        )
    lines.append(
        "accuracy  " + " -> ".join(f"{r.stage} {r.accuracy:.2%}" for r in manifest.quality.ladder)
    )
    lines.append(
        f"parity    {parity.equal:,} of {parity.compared:,} int8 outputs equal, the rest at most "
        f"{parity.max_difference_lsb} LSB apart; top-1 agrees on {parity.top1_agreement:.2%}"
    )
    lines.append(f"golden    {manifest.golden.count} vectors: check them with `tinsmith selftest`")
    lines.append(f"made with {versions}")
    return lines


def _selftest(arguments: argparse.Namespace) -> int:
    results = selftest(arguments.bundle)
    passed = all(not result.mismatch for result in results)
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    else:
        for result in results:
            verdict = f"FAILED: {result.mismatch}" if result.mismatch else "passed"
            rest = ""
            if result.equal_vectors < result.vectors:
                rest = f"the rest at most {result.max_difference_lsb} LSB apart, "
            print(
                f"{result.engine_version} on {result.cpu}: {result.equal_vectors} of "
                f"{result.vectors} golden vectors equal to the bit, {rest}"
                f"{result.elapsed_ms:.1f} ms: {verdict}"
            )
    return 0 if passed else 1


def _keygen(arguments: argparse.Namespace) -> int:
    signer = generate_key(arguments.name)
    if arguments.json:
        print(json.dumps(asdict(signer)))
    else:
        print(
            f"{arguments.name}.key: keep it secret\n"
            f"{arguments.name}.pub: give it away; sha256 {signer.key_sha256}"
        )
    return 0


def _sign(arguments: argparse.Namespace) -> int:
    signer = sign_bundle(arguments.bundle, arguments.key, arguments.out)
    _print_signed(arguments.out or arguments.bundle, signer, arguments.json)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    signer = verify_bundle(arguments.bundle, arguments.key)
    _print_signed(arguments.bundle, signer, arguments.json)
    return 0


def _print_signed(bundle: Path, signer: Signer, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"bundle": str(bundle), **asdict(signer)}))
    else:
        print(f"{bundle}: signed by {signer.key} (sha256 {signer.key_sha256})")


def _install(arguments: argparse.Namespace) -> int:
    bundle, folder = arguments.bundle, arguments.folder
    if arguments.rollback == (bundle is not None):
        expected = "FOLDER alone" if arguments.rollback else "BUNDLE FOLDER, or --rollback FOLDER"
        raise UsageError(f"install: expected {expected}")
    done = rollback(folder) if arguments.rollback else install(bundle, folder)
    if arguments.json:
        print(json.dumps(asdict(done)))
    elif not arguments.quiet:
        what = "rolled back to" if arguments.rollback else "installed"
        kept = f"keeps {done.previous[:12]}" if done.previous else "keeps no previous bundle"
        print(f"{folder}: {what if done.changed else 'already holds'} {done.current[:12]}, {kept}")
    return 0
