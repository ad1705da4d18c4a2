"""How many bits weights have."""

WEIGHT_BITS = 8
"""What weights have; the files store fewer as int8 codes too."""

NARROW_BITS = 7
"""What they have, if asked for, in a layer whose 8-bit weights could saturate an x86 kernel."""

FLOAT_BITS = 32
"""What they have in a layer that is kept float."""


def largest_code(bits: int) -> int:
    """The largest code of symmetric weights: 127 of 8 bits."""
    largest: int = 2 ** (bits - 1) - 1
    return largest
