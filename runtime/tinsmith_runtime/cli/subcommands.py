"""`tinsmith inspect`, `selftest` and the signatures: arguments in, results out."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tinsmith_runtime.bundle import (
    BoxHead,
    Input,
    Manifest,
    Output,
    Stage,
    TargetParity,
    read_bundle,
)
from tinsmith_runtime.bundle.signature import Signer, generate_key, sign_bundle, verify_bundle
from tinsmith_runtime.errors import printable
from tinsmith_runtime.selftest import selftest


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


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .tin file or folder")


def _inspect(arguments: argparse.Namespace) -> int:
    bundle = read_bundle(arguments.bundle)
    if arguments.json:
        print(json.dumps(asdict(bundle.manifest), indent=1))
    else:
        print("\n".join(map(printable, describe(bundle.manifest))))
    return 0


def describe(manifest: Manifest) -> list[str]:
    """Says in words, a line each, what a manifest holds."""
    training, quality = manifest.training, manifest.quality
    kept = [layer.name for layer in manifest.layers if layer.weight_bits == 32]
    rounded = [layer for layer in manifest.layers if layer.weight_bits != 32]
    bits = ", ".join(f"{layer.name} {layer.weight_bits}" for layer in rounded) or "none"
    versions = ", ".join(f"{name} {found}" for name, found in manifest.made_with.items())
    lines = [
        *(f"input     {_describe_input(entry)}" for entry in manifest.inputs),
        *(_describe_preprocessing(manifest.input) if len(manifest.inputs) == 1 else ()),
        *(f"output    {_describe_output(output)}" for output in manifest.outputs),
        *([f"boxes     {_describe_boxes(manifest.boxes)}"] if manifest.boxes else ()),
        f"trained   {training.model} on {training.dataset}, seed {training.seed}",
        f"quantized {training.recipe}, {training.qat_steps} steps of fine-tuning",
        f"weights   bits a layer: {bits}",
        *([f"float     {', '.join(kept)}: weights not rounded"] if kept else []),
        *(f"setting   {one.name} = {one.value}" for one in manifest.settings),
        *(f"failed    {gate}" for gate in manifest.failures),
        "files",
    ]
    for variant in manifest.variants:
        more = "" if variant.accuracy is None else f", {variant.accuracy:.2%} correct"
        if variant.arena_bytes:
            more += f", arena {variant.arena_bytes:,} bytes"
        lines.append(
            f"  {variant.file:<20} {variant.precision:<5} {variant.size_bytes:>9,} bytes{more}"
        )
    lines += _describe_stages(quality.stages)
    for target in quality.parity:
        lines += _describe_parity(quality.reference, target)
    for state in quality.states:
        lines.append(
            f"state     {state.name}: {_decibels(state.first_sqnr_db)} behind the first of "
            f"{state.steps} steps, {_decibels(state.last_sqnr_db)} behind the last"
        )
    lines.append(f"golden    {manifest.golden.count} vectors: check them with `tinsmith selftest`")
    lines.append(f"release   {manifest.release}")
    lines.append(f"made with {versions}")
    return lines


def _describe_input(entry: Input) -> str:
    size = " x ".join(map(str, entry.sample_shape))
    if entry.kind == "state":
        zero = f"{entry.zero_point} at first, which is 0"
        return f"{entry.name}: {size} int8 codes of state, those of {entry.fed_by} before; {zero}"
    pixels, seen = entry.pixel_ranges, (entry.value_range,) if entry.value_range else ()
    ranged = ", ".join("{:g} to {:g}".format(*pair) for pair in (pixels.ranges if pixels else seen))
    if pixels and pixels.channels == "bgr":
        ranged += " in the model's BGR; the pixels are RGB"
    if entry.kind == "image":
        return f"{entry.name}: {size} uint8 pixels, standing for {ranged}"
    return f"{entry.name}: {size} float32 features{ranged and ', calibrated on '}{ranged}"


def _describe_output(output: Output) -> str:
    if output.kind == "state":
        size = " x ".join(map(str, output.sample_shape))
        return f"{output.name}: {size} int8 codes of state, for the next step"
    if output.kind == "logits":
        given = f"{len(output.labels)} classes ({', '.join(output.labels)})"
    else:
        given = " x ".join(map(str, output.sample_shape)) + " values"
    place = ", ".join(map(str, output.start))
    part = f"; a part of {output.part_of}, from ({place})" if output.part_of else ""
    return f"{output.name}: {given}, {output.activation} applied by the runtime{part}"


def _describe_boxes(head: BoxHead) -> str:
    coding = {"deltas": "deltas from anchors", "distances": "distances to the sides"}
    return (
        f"{len(head.labels)} labels ({', '.join(head.labels)}), "
        f"{coding.get(head.coding, head.coding)} from {', '.join(head.boxes)}, "
        f"scores from {', '.join(head.scores)}; probability at least {head.score_limit:g}, "
        f"overlap at most {head.iou_limit:g}, at most {head.max_detections} an image"
    )


def _decibels(sqnr_db: float | None) -> str:
    return "no error" if sqnr_db is None else f"SQNR {sqnr_db:.1f} dB"


def _describe_parity(reference: str, target: TargetParity) -> list[str]:
    """How far a target's outputs on the evaluation data are the reference's."""
    parity = target.evaluation
    equal = f"{parity.equal:,} of {parity.compared:,} int8 outputs equal"
    if parity.equal < parity.compared:
        equal += f", the rest at most {parity.max_difference_lsb} LSB apart"
    if parity.top1_agreement is not None:
        equal += f"; top-1 agrees on {parity.top1_agreement:.2%}"
    lines = [f"parity    {target.target} with {reference}: {equal}"]
    if parity.enters_at:
        lines.append(f"          different from layer {parity.enters_at} on")
    return lines


def _describe_stages(stages: Sequence[Stage]) -> list[str]:
    """What each stage gave: accuracy, or how far it agrees with float."""
    parts = []
    for stage in stages:
        share = stage.agreement if stage.accuracy is None else stage.accuracy
        if share is not None:
            parts.append(f"{stage.name} {share:.2%}")
        elif stage.sqnr_db is not None:
            parts.append(f"{stage.name} {stage.sqnr_db:.1f} dB")
    name = "accuracy" if stages[0].accuracy is not None else "agreement"
    if stages[0].agreement is None:
        name = "SQNR"
    return [f"{name:<9} {' -> '.join(parts)}"]


def _describe_preprocessing(entry: Input) -> list[str]:
    rules = entry.preprocessing
    if rules is None or entry.color is None:
        return []
    fit = {"stretch": "stretched to", "contain": "padded to", "crop": "cropped to"}[rules.fit]
    invert = ", inverted" if rules.invert else ""
    border = f" with {rules.padding}" if rules.fit == "contain" and rules.padding else ""
    return [f"images    made {entry.color}{invert}, {fit} that size{border}, {rules.resampling}"]


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
            said = (
                f"{result.engine_version} on {result.cpu}: {result.equal_vectors} of "
                f"{result.vectors} golden vectors equal to the bit, {rest}"
                f"{result.elapsed_ms:.1f} ms: {verdict}"
            )
            print(printable(said))
    return 0 if passed else 1


def _keygen(arguments: argparse.Namespace) -> int:
    signer = generate_key(arguments.name)
    if arguments.json:
        print(json.dumps(asdict(signer)))
    else:
        name = printable(arguments.name)
        print(f"{name}.key: keep it secret\n{name}.pub: give it away; sha256 {signer.key_sha256}")
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
        print(printable(f"{bundle}: signed by {signer.key} (sha256 {signer.key_sha256})"))
