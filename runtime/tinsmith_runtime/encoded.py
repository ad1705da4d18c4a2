"""What a PNG or JPEG file is made of, before anything decodes it.

Their decoders take whatever time and memory a file asks for: a JPEG of some kilobytes may have
thousands of scans, each of which goes over all of the picture, and a file of a million empty parts
becomes a million objects.
"""

import re

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
MAX_SCANS = 64
"""How often a JPEG may go over its picture; encoders make about ten scans at most."""

_MAX_PARTS = 100_000  # chunks or segments: with the usual 8 kB each, 800 MB
# Any marker but those inside a scan: an escaped 0xff and the restarts (ITU T.81, B.1.1.2).
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_SOI, _SOS, _EOI, _TEM = b"\xd8", b"\xda", b"\xd9", b"\x01"


def count_scans(data: bytes) -> int:
    """How often the decoder of a PNG or JPEG goes over the picture: of more than once it holds all.

    Raises:
        ValueError: that, or the number of its parts, is more than any picture has.
    """
    return _check_png(data) if data.startswith(PNG) else _check_jpeg(data)


def _check_png(data: bytes) -> int:
    position = len(PNG)
    for _ in range(_MAX_PARTS):
        if position >= len(data):
            return 1
        # Its length, its name of 4 bytes, its content and a checksum of 4.
        position += 12 + int.from_bytes(data[position : position + 4])
    raise ValueError(f"expected at most {_MAX_PARTS} chunks")


def _check_jpeg(data: bytes) -> int:
    position = scans = 0
    for _ in range(_MAX_PARTS):
        found = _MARKER.search(data, position)
        if found is None or found[1] == _EOI:
            return scans
        position = found.end()
        if found[1] not in (_SOI, _TEM):
            position += int.from_bytes(data[position : position + 2])
        scans += found[1] == _SOS
        if scans > MAX_SCANS:
            raise ValueError(f"expected at most {MAX_SCANS} scans")
    raise ValueError(f"expected at most {_MAX_PARTS} segments")
