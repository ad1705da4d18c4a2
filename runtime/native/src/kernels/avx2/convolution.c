/* Convolution and dense with AVX2.
 *
 * vpmaddubsw multiplies 32 codes by 32 weights and sums pairs in int16; vpmaddwd with ones sums
 * pairs of these in int32. The groups of steps.h say how many of the first go before one of the
 * second.
 */
#ifdef __AVX2__
#define TIN_PIXELS 4 /* 8 registers for sums, 4 for sums in int16 */
#include "tile.h"

/* Adds a group of `steps` steps to the sums of `pairs` vectors: two pixels of one or two vectors,
 * or what there is if that is less. */
TIN_INLINE void sum_group(const struct tin_tile *tile, const uint8_t *const *pixels,
                          const int32_t *offsets, const int8_t *weights, __m256i *sums, int steps,
                          int count, int vectors) {
  __m256i part[8];
  TIN_UNROLL for (int step = 0; step < steps; step++) {
    const ptrdiff_t offset = offsets[step];
    __m256i weight[2];
    TIN_UNROLL for (int v = 0; v < vectors; v++)
      weight[v] = load(weights + 32 * (vectors * step + v));
    TIN_UNROLL for (int i = 0; i < count; i++) {
      const __m256i taps = spread(pixels[i] + offset);
      TIN_UNROLL for (int v = 0; v < vectors; v++) {
        const __m256i products = _mm256_maddubs_epi16(taps, weight[v]);
        if (step == 0) part[i * vectors + v] = products;
        else TIN_ADD_16(part[i * vectors + v], products);
      }
    }
  }
  if (steps > 1) TIN_READ_AGAIN();
  const __m256i ones = load(tile->all_ones);
  TIN_UNROLL for (int i = 0; i < count * vectors; i++)
    TIN_ADD_32(sums[i], _mm256_madd_epi16(part[i], ones));
}

/* Adds `groups` groups. As many pixels go through a group together as leave room for its int16
 * sums beside all int32 sums: 4 vectors. */
TIN_INLINE void sum_groups(const struct tin_tile *tile, const uint8_t *const *pixels,
                           const int32_t **offsets, const int8_t **weights, __m256i *sums,
                           int32_t groups, int steps, int count, int vectors) {
  const int most = steps == 1 ? 1 : 4 / vectors, together = count < most ? count : most;
  const int32_t *offset = *offsets, *const end = offset + (ptrdiff_t)steps * groups;
  const int8_t *weight = *weights;
  for (; offset != end; offset += steps, weight += 32 * vectors * steps) {
    TIN_UNROLL for (int i = 0; i < count; i += together)
      sum_group(tile, pixels + i, offset, weight, sums + i * vectors, steps, together,
                           vectors);
  }
  *offsets = offset;
  *weights = weight;
}

TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *const *pixels, __m256i *sums,
                          int count, int vectors) {
  const int32_t *offsets = tin_tile_offsets(tile);
  const int8_t *weights = tin_tile_weights(tile);
  sum_groups(tile, pixels, &offsets, &weights, sums, tile->fours, 4, count, vectors);
  sum_groups(tile, pixels, &offsets, &weights, sums, tile->twos, 2, count, vectors);
  sum_groups(tile, pixels, &offsets, &weights, sums, tile->ones, 1, count, vectors);
}

/* For pointwise.c, which has the same tiles. */
void tin_avx2_run_tile(const struct tin_tile *tile, const struct tin_band *band);

void tin_avx2_run_tile(const struct tin_tile *tile, const struct tin_band *band) {
  run_tile(tile, band);
}

static const struct tin_convolution AVX2 = {TIN_AVX2_FORM, run_tile, NULL};

TIN_CONVOLUTION_KERNEL(tin_avx2_convolution, "avx2 convolution", AVX2);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
