"""The bundle: `NAME.tin`, its manifest, its golden vectors and its signature.

`golden` and `signature` are imported by themselves, where they are needed.
"""

from tinsmith_runtime.bundle.archive import pack, sha256
from tinsmith_runtime.bundle.box_head import BoxLevel
from tinsmith_runtime.bundle.container import (
    MANIFEST,
    SIGNATURE,
    Bundle,
    read_bundle,
    read_installed,
    write_bundle,
)
from tinsmith_runtime.bundle.fields import MAX_TENSORS
from tinsmith_runtime.bundle.manifest import (
    FORMAT_VERSION,
    STATEFUL_VERSION,
    dump_manifest,
    parse_manifest,
)
from tinsmith_runtime.bundle.quality import Parity, Quality, Stage, StateError, TargetParity
from tinsmith_runtime.bundle.schema import (
    BoxHead,
    Golden,
    Input,
    Layer,
    Manifest,
    Output,
    PixelRanges,
    Preprocessing,
    Setting,
    Training,
    Variant,
)

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "MAX_TENSORS",
    "SIGNATURE",
    "STATEFUL_VERSION",
    "BoxHead",
    "BoxLevel",
    "Bundle",
    "Golden",
    "Input",
    "Layer",
    "Manifest",
    "Output",
    "Parity",
    "PixelRanges",
    "Preprocessing",
    "Quality",
    "Setting",
    "Stage",
    "StateError",
    "TargetParity",
    "Training",
    "Variant",
    "dump_manifest",
    "pack",
    "parse_manifest",
    "read_bundle",
    "read_installed",
    "sha256",
    "write_bundle",
]
