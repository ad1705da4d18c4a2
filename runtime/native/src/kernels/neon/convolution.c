/* Convolution and dense with NEON, without dot products: ARMv7, and ARMv8 of the first years.
 *
 * A step is two taps. vmull multiplies eight codes by eight weights, two taps of four channels, and
 * gives int16; vmlal adds more of these; vpadal sums pairs in int32. Two products always fit into
 * int16, so a group has two steps, or four where the weights allow it.
 */
#ifdef __ARM_NEON
#define TIN_PIXELS 4
#ifdef __aarch64__
#define TIN_VECTORS 4 /* 16 registers of 32 for sums */
#else
#define TIN_VECTORS 2 /* 8 registers of 16 */
#endif
#include "tile.h"

/* Two taps of a pixel, four times. */
TIN_INLINE int8x8_t spread(const uint8_t *taps) {
  int16_t two;
  memcpy(&two, taps, 2);
  return vreinterpret_s8_s16(vdup_n_s16(two));
}

/* Adds a group of `steps` steps to the sums of one pixel. */
TIN_INLINE void sum_group(const uint8_t *pixel, const int32_t *offsets, const int8x8_t *weights,
                          int32x4_t *sums, int steps, int vectors) {
  int16x8_t part[TIN_VECTORS];
  TIN_UNROLL for (int step = 0; step < steps; step++) {
    const int8x8_t taps = spread(pixel + offsets[step]);
    TIN_UNROLL for (int v = 0; v < vectors; v++) {
      const int8x8_t weight = weights[vectors * step + v];
      part[v] = step == 0 ? vmull_s8(taps, weight) : vmlal_s8(part[v], taps, weight);
    }
  }
  TIN_UNROLL for (int v = 0; v < vectors; v++) {
    sums[v] = vpadalq_s16(sums[v], part[v]);
    TIN_PIN(sums[v]);
  }
}

/* Adds `groups` groups, whose weights stay in registers from pixel to pixel. */
TIN_INLINE void sum_groups(const uint8_t *const *pixels, const int32_t **offsets,
                           const int8_t **weights, int32x4_t *sums, int32_t groups, int steps,
                           int count, int vectors) {
  const int32_t *offset = *offsets, *const end = offset + (ptrdiff_t)steps * groups;
  const int8_t *weight = *weights;
  for (; offset != end; offset += steps, weight += 8 * vectors * steps) {
    int8x8_t group[4 * TIN_VECTORS];
    TIN_UNROLL for (int i = 0; i < steps * vectors; i++) group[i] = vld1_s8(weight + 8 * i);
    TIN_UNROLL for (int i = 0; i < count; i++)
      sum_group(pixels[i], offset, group, sums + i * vectors, steps, vectors);
  }
  *offsets = offset;
  *weights = weight;
}

TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *const *pixels,
                          int32x4_t *sums, int count, int vectors) {
  const int32_t *offsets = tin_tile_offsets(tile);
  const int8_t *weights = tin_tile_weights(tile);
  sum_groups(pixels, &offsets, &weights, sums, tile->fours, 4, count, vectors);
  sum_groups(pixels, &offsets, &weights, sums, tile->twos, 2, count, vectors);
  sum_groups(pixels, &offsets, &weights, sums, tile->ones, 1, count, vectors);
}

static const struct tin_convolution NEON = {{2, 4 * TIN_VECTORS, 0, 0, TIN_SUMS_SIGNED, 1, 1, 4},
                                           run_tile, NULL};

TIN_CONVOLUTION_KERNEL(tin_neon_convolution, "neon convolution", NEON);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
