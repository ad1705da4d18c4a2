/* What computes the operators of a plan: one struct an operator, filled and checked by the loader.
 *
 * The loader (plan.c) has checked all that a kernel relies on before the first call. What holds of
 * every struct here stands beside it, so no kernel checks anything again.
 *
 * The arithmetic is docs/reference/plan.md's: float32 operations round one by one, to nearest, halves to
 * even, and none is fused with another (-ffp-contract=off).
 */
#ifndef TINSMITH_KERNELS_H
#define TINSMITH_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Packed weights and scratch memory begin at a multiple of this, in bytes. Tensors do too. */
#define TIN_ALIGNMENT 64

static inline size_t tin_aligned(size_t bytes) {
  return (bytes + TIN_ALIGNMENT - 1) / TIN_ALIGNMENT * TIN_ALIGNMENT;
}

/* Instruction sets, by what the kernels of src/kernels/<isa>/ need. */
enum tin_isa {
  TIN_ISA_PORTABLE,
  TIN_ISA_AVX2,
  TIN_ISA_AVXVNNI,
  TIN_ISA_AVX512VNNI,
  TIN_ISA_NEON,
  TIN_ISA_NEONDOT,
};

/* The best that this CPU has and that was compiled in, or what TINSMITH_ISA names, if the CPU has
 * that; see isa.c. */
enum tin_isa tin_isa_detect(void);

/* Whether this CPU has an instruction set other than the portable one, and the kernels were compiled
 * in; see cpu.c. */
int tin_cpu_has(enum tin_isa isa);

/* The name that TINSMITH_ISA takes: "portable", "avx2" and so on. */
const char *tin_isa_name(enum tin_isa isa);

/* A product with weights: convolution, depthwise, dense. In words:
 *
 *   acc = bias[m] + sum over the window, and over the channels of m's group, of
 *         (in - in_zero) * weight             what lies outside the image counts 0
 *   out = clamp(round_even((float)acc * scale[m]) + out_zero, out_min, out_max)
 *
 * Output channel m belongs to group m / (out_c / groups); group g reads the input channels
 * g * in_c / groups and on. Depthwise is groups == in_c, with any multiple of in_c as out_c.
 * Dense is a 1 x 1 convolution of an image of 1 row.
 *
 * What holds:
 * - All sizes, strides and dilations are 1 or more, pads 0 or more. groups divides in_c and out_c.
 * - A stride is 1 where there is one output, a dilation is 1 where the kernel is 1.
 * - A window may lie outside of the image, in part or whole, on each side. There is no pad_bottom:
 *   what is behind the image counts 0 too. pad_top < 2^15, (kernel_h - 1) * dilation_h < 2^15,
 *   (out_h - 1) * stride_h < 2^24; and the same for columns. So row and column numbers never
 *   overflow int32.
 * - Tensors have less than 2^31 bytes, weights too.
 * - Zero points and out_min <= out_max lie in -128..127. Weights lie in -127..127.
 * - For every output channel |bias| + 255 * sum(|weight|) < 2^31: sums fit into int32, whatever
 *   the input and the order of summation.
 * - 0 <= scale[m] < 256. It may be subnormal; a kernel may take such a one for 0.
 * - The output is nowhere the same memory as the input.
 */
struct tin_product {
  int32_t in_h, in_w, in_c, out_h, out_w, out_c;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int32_t pad_top, pad_left, groups;
  int32_t in_zero, out_zero, out_min, out_max;
  const int8_t *weights; /* out_c, kernel_h, kernel_w, in_c / groups; of no alignment */
  const int32_t *bias;   /* out_c */
  const float *scale;    /* out_c: s_in * s_weight / s_out, float32 from left to right */
};

/* One implementation of the product. It has no state: all memory is handed to it. `serves`,
 * `packed_bytes` and `scratch_bytes` may look at the weights, but bias and scale may still be NULL
 * there. */
struct tin_kernel {
  const char *name;
  /* Whether it computes this product: 0 or 1. */
  int (*serves)(const struct tin_product *product);
  /* How much memory `pack` fills, once, at load, in bytes; 0 if it takes the weights as they are.
   * The weights may be gone after `pack` if this is not 0; bias and scale stay. */
  size_t (*packed_bytes)(const struct tin_product *product);
  void (*pack)(const struct tin_product *product, void *packed);
  /* How much memory a run needs, for each thread, in bytes. Its content is undefined. */
  size_t (*scratch_bytes)(const struct tin_product *product);
  /* Computes the output rows row_begin <= row < row_end. `in` and `out` are whole tensors, height,
   * width, channels; 64-byte aligned. No byte outside of `in` is read, and no byte outside of the
   * rows is written. */
  void (*run)(const struct tin_product *product, const void *packed, const int8_t *in, int8_t *out,
              void *scratch, int32_t row_begin, int32_t row_end);
};

/* The kernels for an instruction set, the best first, the portable one last, then NULL. The loader
 * takes the first that serves. */
const struct tin_kernel *const *tin_product_kernels(enum tin_isa isa);

/* product.c: it serves everything. */
extern const struct tin_kernel tin_product_portable;

#endif
