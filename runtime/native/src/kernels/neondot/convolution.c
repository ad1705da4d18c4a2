/* Convolution and dense with NEON's dot product: sdot multiplies four codes by four weights and adds
 * all four products to an int32, for four channels at once. The tiles are NEON's. */
#ifdef __ARM_FEATURE_DOTPROD
#define TIN_PIXELS 4
#define TIN_VECTORS 4 /* 16 registers of 32 for sums */
#include "../neon/tile.h"

/* Four taps of a pixel, four times. */
TIN_INLINE int8x16_t spread(const uint8_t *taps) {
  int32_t four;
  memcpy(&four, taps, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

TIN_INLINE void sum_step(const uint8_t *const *pixels, ptrdiff_t offset, const int8_t *weights,
                         int32x4_t *sums, int count, int vectors) {
  int8x16_t weight[TIN_VECTORS];
  TIN_UNROLL for (int v = 0; v < vectors; v++) weight[v] = vld1q_s8(weights + 16 * v);
  TIN_UNROLL for (int i = 0; i < count; i++) {
    const int8x16_t taps = spread(pixels[i] + offset);
    TIN_UNROLL for (int v = 0; v < vectors; v++) {
      sums[i * vectors + v] = vdotq_s32(sums[i * vectors + v], weight[v], taps);
      TIN_PIN(sums[i * vectors + v]);
    }
  }
}

TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *const *pixels,
                          int32x4_t *sums, int count, int vectors) {
  const int32_t *offset = tin_tile_offsets(tile), *const end = offset + tile->ones;
  const int8_t *weights = tin_tile_weights(tile);
  for (; offset != end; offset++, weights += 16 * vectors)
    sum_step(pixels, *offset, weights, sums, count, vectors);
}

static const struct tin_convolution NEONDOT = {{4, 16, 0, 0, TIN_SUMS_INT32, 1, 1, 4}, run_tile, NULL};

TIN_CONVOLUTION_KERNEL(tin_neondot_convolution, "neondot convolution", NEONDOT);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
