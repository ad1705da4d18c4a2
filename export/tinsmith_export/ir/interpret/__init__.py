"""The operators on integers, in plain numpy: what int8 means here, and what kernels are held to.

Slow, and bit for bit what LiteRT gives with XNNPACK. A code stands for `(code - zero_point) *
scale`. Three rules make new codes; `float32` operations round one by one, from left to right, and
`rint` rounds halves to even:

- A product with weights: `rint(float32(sum) * (s_in * s_weight / s_out))`. The sum is `int32` and
  holds the bias; each output channel has its own `s_weight`.
- A product of two tensors: `rint(float32(a * b) * (s_a * s_b / s_out))`; of their matrices
  likewise, with the sum of the products of codes, where the second tensor's zero point is 0.
- A sum of two tensors: the ratios `s_a / s_out` and `s_b / s_out` become integers by one shift, the
  larger one of 21 bits. What the codes times these sum to is shifted back, and rounded half up.

Then comes the zero point, and the clamp to -128..127, which is a ReLU too. All other operators move
codes, but for functions of one number: these are tables of 256 codes.

LiteRT has no integer kernel for normalization, for most of `FLOAT_FUNCTIONS`, and for products
whose weights are kept float: it computes them in float between two roundings. So does this, in
another order. Softmax is on integers here, from a table of exponentials; LiteRT's kernel has floats
inside. There, and nowhere else, a code may be 1 away from LiteRT's (`tolerance_lsb`): what lies on
the edge between two falls to either side. What `QuantGraph.unrounded` names gives `float32`,
clipped as the layer says: only products kept float read that, directly or moved.
"""

from tinsmith_export.ir.interpret.interpreter import interpret
from tinsmith_export.ir.interpret.operands import Operands, compute
from tinsmith_export.ir.interpret.tensors import FLOAT_FUNCTIONS, tolerance_lsb

__all__ = ["FLOAT_FUNCTIONS", "Operands", "compute", "interpret", "tolerance_lsb"]
