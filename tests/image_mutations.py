"""Ways to break a PNG or a JPEG, each of them from its seed alone.

`python image_mutations.py FOLDER FIRST COUNT` breaks one image a seed and reads it as `tinsmith
run` does; see `mutations.py`.
"""

import io
import random
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mutations import DAMAGE, run_seeds
from PIL import Image

from tinsmith_runtime import UsageError, read_bundle
from tinsmith_runtime.bundle import Input, Preprocessing
from tinsmith_runtime.inputs.samples import find_samples

TINY = Path(__file__).parent / "data" / "tiny.tin"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
NUMBERS = (0, 1, 2, 3, 7, 8, 9, 16, 255, 256, 8191, 8192, 32768, 65535, 1 << 20, 1 << 31, -1)
# An IFD whose next one is itself, one of entries without end, an offset into nothing.
EXIFS = (
    b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\x08\0\0\0",
    b"II*\0\x08\0\0\0\xff\xff" + b"\x12\1\3\0\xff\xff\xff\xff\6\0\0\0" * 40,
    b"MM\0*\xff\xff\xff\xff",
    b"II*\0\x08\0\0\0\2\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x12\1\2\0\1\0\0\0\6\0\0\0\0\0\0\0",
    b"II+\0\x08\0\0\0" + bytes(16),
    b"",
)
BOMB = zlib.compress(bytes(1 << 24), 9)


def originals() -> dict[str, list[bytes]]:
    """Small images of every kind that is read, as Pillow writes them."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 20, 4), np.uint8)
    whole = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    made: dict[str, list[bytes]] = {"PNG": [], "JPEG": []}

    def save(form: str, mode: str, **options: Any) -> None:
        buffer = io.BytesIO()
        whole.convert(mode).save(buffer, form, **options)
        made[form].append(buffer.getvalue())

    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        save("PNG", mode, exif=exif)
    save("PNG", "RGB", save_all=True, append_images=[Image.new("RGB", (20, 24))], duration=9)
    save("PNG", "P", transparency=3, icc_profile=bytes(400), dpi=(72, 72))
    for mode in ("L", "RGB", "CMYK"):
        save("JPEG", mode, exif=exif)
        save("JPEG", mode, progressive=True, icc_profile=bytes(400), comment="x")
    save("JPEG", "RGB", subsampling=0, restart_marker_rows=1)
    return made


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG: name and content."""
    chunks, position = [], len(PNG_MAGIC)
    while position < len(data):
        size = int.from_bytes(data[position : position + 4])
        chunks.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + size]))
        position += 12 + size
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG whose lengths and checksums are right."""
    packed = (
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        for name, data in chunks
    )
    return PNG_MAGIC + b"".join(packed)


def png_header(data: bytes, rng: random.Random) -> bytes:
    """Other dimensions, another depth, colour type, compression, filter or interlace."""
    chunks = chunks_of(data)
    header = bytearray(chunks[0][1])
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.5:
            place = rng.choice((0, 4))
            header[place : place + 4] = struct.pack(">L", rng.choice(NUMBERS) & 0xFFFFFFFF)
        else:
            header[rng.randrange(8, 13)] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return png_of([(b"IHDR", bytes(header)), *chunks[1:]])


def _reordered(parts: list[Any], rng: random.Random) -> list[Any]:
    parts = list(parts)
    one, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    what = rng.choice(("drop", "double", "swap", "many"))
    if what == "drop":
        del parts[one]
    elif what == "double":
        parts.insert(other, parts[one])
    elif what == "many":
        parts[one:one] = [parts[one]] * rng.choice((10, 1000, 110_000))
    else:
        parts[one], parts[other] = parts[other], parts[one]
    return parts


def png_order(data: bytes, rng: random.Random) -> bytes:
    """Chunks twice, a hundred thousand times, in another order, or one too few."""
    return png_of(_reordered(chunks_of(data), rng))


def png_content(data: bytes, rng: random.Random) -> bytes:
    """A chunk with damaged bytes, whose checksum is right, or under another name."""
    chunks = chunks_of(data)
    place = rng.randrange(len(chunks))
    name, content = chunks[place]
    if rng.random() < 0.2:
        name = rng.choice((b"IDAT", b"PLTE", b"tRNS", b"tEXt", b"fcTL", b"fdAT", b"eXIf", b"zzZz"))
    elif content:
        content = rng.choice(DAMAGE)(content, rng)
    chunks[place] = name, content
    return png_of(chunks)


def png_chunk(data: bytes, rng: random.Random) -> bytes:
    """One hostile chunk more: text and profiles that unpack to megabytes, EXIF in circles."""
    chunks, junk = chunks_of(data), rng.randbytes(rng.choice((0, 1, 3, 30)))
    numbers = struct.pack(">7L", *(rng.choice(NUMBERS) & 0xFFFFFFFF for _ in range(7)))
    added = rng.choice(
        (
            (b"zTXt", b"k\0\0" + BOMB),
            (b"zTXt", b"k\0" + junk),
            (b"iTXt", b"k\0\1\0en\0k\0" + BOMB),
            (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<tiff:Orientation>6</tiff:Orientation>" + junk),
            (b"tEXt", b"Raw profile type exif\0\nexif\n9\n" + junk.hex().encode()),
            (b"iCCP", b"p\0\0" + BOMB),
            (b"iCCP", b"p\0" + junk),
            (b"eXIf", rng.choice(EXIFS) + junk),
            (b"acTL", numbers[: rng.choice((0, 4, 8))]),
            (b"fcTL", numbers[: rng.choice((4, 26))]),
            (b"fdAT", numbers[:4] + junk),
            *((name, junk) for name in (b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"pHYs")),
        )
    )
    count = rng.choice((1, 1, 1, 80))
    place = rng.randrange(1, len(chunks) + 1)
    return png_of(chunks[:place] + [added] * count + chunks[place:])


def png_pixels(data: bytes, rng: random.Random) -> bytes:
    """Pixels that are too few, too many, or no stream that unpacks; and with them a large size."""
    chunks = chunks_of(data)
    place = next(i for i, (name, _) in enumerate(chunks) if name == b"IDAT")
    pixels = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    packed = rng.choice(
        (
            lambda: BOMB,
            lambda: b"",
            lambda: rng.randbytes(50),
            lambda: zlib.compress(pixels[: rng.randrange(len(pixels))]),
            lambda: zlib.compress(rng.choice(DAMAGE)(pixels, rng)),
            lambda: zlib.compress(rng.randbytes(len(pixels))),
        )
    )()
    changed = png_of([*chunks[:place], (b"IDAT", packed), *chunks[place + 1 :]])
    return png_header(changed, rng) if rng.random() < 0.3 else changed


def segments_of(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The segments of a JPEG before its first scan, marker and content; and the scans."""
    segments, position = [], 2
    while data[position + 1] != 0xDA:
        size = int.from_bytes(data[position + 2 : position + 4])
        segments.append((data[position + 1], data[position + 4 : position + 2 + size]))
        position += 2 + size
    return segments, data[position:]


def jpeg_of(segments: list[tuple[int, bytes]], scans: bytes) -> bytes:
    """A JPEG whose lengths are right."""
    packed = (
        bytes((0xFF, marker)) + struct.pack(">H", (len(data) + 2) & 0xFFFF) + data
        for marker, data in segments
    )
    return b"\xff\xd8" + b"".join(packed) + scans


def jpeg_header(data: bytes, rng: random.Random) -> bytes:
    """Another precision, other dimensions, components or sampling; another kind of coding."""
    segments, scans = segments_of(data)
    place = next(i for i, (marker, _) in enumerate(segments) if 0xC0 <= marker <= 0xC2)
    marker, content = segments[place]
    frame = bytearray(content)
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.5:
            at = rng.choice((1, 3))
            frame[at : at + 2] = struct.pack(">H", rng.choice(NUMBERS) & 0xFFFF)
        else:
            at = rng.choice((0, *range(5, len(frame))))
            frame[at] = rng.choice((0, 1, 2, 3, 4, 8, 12, 0x11, 0x14, 0x22, 0x41, 0x44, 0xFF))
    if rng.random() < 0.3:
        marker = rng.choice((*range(0xC0, 0xD0), 0xDC, 0xDE))
    segments[place] = marker, bytes(frame)
    return jpeg_of(segments, scans)


def jpeg_order(data: bytes, rng: random.Random) -> bytes:
    """Segments twice, a hundred thousand times, in another order, or one too few."""
    segments, scans = segments_of(data)
    return jpeg_of(_reordered(segments, rng), scans)


def jpeg_content(data: bytes, rng: random.Random) -> bytes:
    """A segment with damaged bytes, whose length is right, or with another marker."""
    segments, scans = segments_of(data)
    place = rng.randrange(len(segments))
    marker, content = segments[place]
    if rng.random() < 0.2:
        marker = rng.randrange(1, 255)
    elif content:
        content = rng.choice(DAMAGE)(content, rng)
    segments[place] = marker, content
    return jpeg_of(segments, scans)


def jpeg_segment(data: bytes, rng: random.Random) -> bytes:
    """One hostile segment more: EXIF in circles, a profile in missing parts, a thumbnail."""
    segments, scans = segments_of(data)
    junk = rng.randbytes(rng.choice((0, 1, 3, 30)))
    added = rng.choice(
        (
            (0xE1, b"Exif\0\0" + rng.choice(EXIFS) + junk),
            (0xE1, b"http://ns.adobe.com/xap/1.0/\0<tiff:Orientation>6</tiff:Orientation>" + junk),
            (0xE2, b"ICC_PROFILE\0" + bytes((rng.randrange(256), rng.randrange(256))) + junk),
            (0xE2, b"MPF\0" + rng.choice(EXIFS) + junk),
            (0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\x10" + junk),
            (0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((rng.randrange(256),))),
            (0xE0, b"JFIF\0\1\2\1" + junk),
            (0xDD, junk[:2]),
            (0xDB, bytes((rng.randrange(256),)) + junk),
            (0xC4, bytes((rng.randrange(256),)) + bytes(rng.choices((0, 1, 2, 255), k=16)) + junk),
            (0xFE, bytes(65_533)),
        )
    )
    place = rng.randrange(len(segments) + 1)
    return jpeg_of(segments[:place] + [added] * rng.choice((1, 1, 80)) + segments[place:], scans)


def jpeg_scans(data: bytes, rng: random.Random) -> bytes:
    """Scans damaged, or very many of them."""
    segments, scans = segments_of(data)
    if rng.random() < 0.3:
        first = scans[: scans.find(b"\xff\xda", 2)] if b"\xff\xda" in scans[2:] else scans[:-2]
        return jpeg_of(segments, first * rng.choice((2, 64, 65, 5000)) + scans)
    return jpeg_of(segments, scans[:8] + rng.choice(DAMAGE)(scans[8:], rng))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """What a bad card or a cut transfer makes of it."""
    return rng.choice(DAMAGE)(data, rng)


KINDS: dict[str, tuple[int, str, Callable[[bytes, random.Random], bytes]]] = {
    "damaged PNG": (3, "PNG", damaged),
    "PNG header": (3, "PNG", png_header),
    "PNG order": (1, "PNG", png_order),
    "PNG content": (3, "PNG", png_content),
    "PNG chunk": (2, "PNG", png_chunk),
    "PNG pixels": (2, "PNG", png_pixels),
    "damaged JPEG": (3, "JPEG", damaged),
    "JPEG header": (3, "JPEG", jpeg_header),
    "JPEG order": (1, "JPEG", jpeg_order),
    "JPEG content": (3, "JPEG", jpeg_content),
    "JPEG segment": (2, "JPEG", jpeg_segment),
    "JPEG scans": (2, "JPEG", jpeg_scans),
}


def judge(path: Path, entry: Input) -> dict[str, Any]:
    """What `tinsmith run` makes of an image: `refused` in one clear line, or `read`."""
    (sample,) = find_samples([str(path)], [entry])
    try:
        found = sample.read()
    except UsageError as error:
        said = str(error)
        clear = said.startswith(f"{path}: ") and said.isprintable() and len(said) < 1500
        return {"outcome": "refused" if clear else "unclear", "said": said}
    assert isinstance(found, np.ndarray)
    right = (found.shape, found.dtype) == (entry.sample_shape, np.dtype(np.uint8))
    return {"outcome": "read" if right else "unclear", "said": f"{found.shape} {found.dtype}"}


def main(folder: str, first: int, count: int) -> None:
    images, taken = originals(), read_bundle(TINY).manifest.input
    height, width, _ = taken.sample_shape

    def attempt(kind: str, rng: random.Random, path: Path) -> dict[str, Any]:
        _, form, mutate = KINDS[kind]
        path.write_bytes(mutate(rng.choice(images[form]), rng))
        rules = Preprocessing(fit=rng.choice(("stretch", "contain", "crop")), invert=first % 2 == 0)
        shape = (None, height, width, rng.choice((1, 3, 4)))
        return judge(path, replace(taken, shape=shape, preprocessing=rules))

    weights = {kind: weight for kind, (weight, _, _) in KINDS.items()}
    run_seeds(Path(folder), range(first, first + count), weights, attempt)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
