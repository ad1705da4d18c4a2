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
from tinsmith_runtime.bundle.keras_outputs import KerasOutput, join, keras_outputs, named
from tinsmith_runtime.bundle.manifest import (
    FORMAT_VERSION,
    dump_manifest,
    format_version,
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
    "BoxHead",
    "BoxLevel",
    "Bundle",
    "Golden",
    "Input",
    "KerasOutput",
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
    "format_version",
    "join",
    "keras_outputs",
    "named",
    "pack",
    "parse_manifest",
    "read_bundle",
    "read_installed",
    "sha256",
    "write_bundle",
]
