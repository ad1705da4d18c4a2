/* Convolution and dense with AVX-VNNI: vpdpbusd multiplies four codes 0..255 by four weights and
 * adds all four products to an int32. The tiles are AVX2's. */
#if defined(__AVXVNNI__) || defined(TIN_THROUGH_SIMDE)
#define TIN_PIXELS 6 /* 12 registers for sums: an addition takes 5 cycles, and two begin in each */
#include "../avx2/tile.h"

/* Adds one step to the sums of `count` pixels. */
TIN_INLINE void sum_step(const uint8_t *const *pixels, ptrdiff_t offset, const int8_t *weights,
                         __m256i *sums, int count, int vectors) {
  __m256i weight[2];
  TIN_UNROLL for (int v = 0; v < vectors; v++) weight[v] = load(weights + 32 * v);
  TIN_UNROLL for (int i = 0; i < count; i++) {
    const __m256i taps = spread(pixels[i] + offset);
    TIN_UNROLL for (int v = 0; v < vectors; v++) {
      __m256i *sum = &sums[i * vectors + v];
      *sum = _mm256_dpbusd_avx_epi32(*sum, taps, weight[v]);
      TIN_PIN(*sum);
    }
  }
}

/* A single pixel has too few sums to keep the multipliers busy, so it gets four of each. */
TIN_INLINE void sum_pixel(const struct tin_tile *tile, const uint8_t *const *pixels,
                          __m256i *sums, int vectors) {
  const int32_t *offsets = tin_tile_offsets(tile), steps = tile->ones;
  const int8_t *weights = tin_tile_weights(tile);
  __m256i more[6];
  int32_t step = 0;
  TIN_UNROLL for (int i = 0; i < 3 * vectors; i++) more[i] = _mm256_setzero_si256();
  for (; step + 4 <= steps; step += 4, weights += 128 * vectors) {
    sum_step(pixels, offsets[step], weights, sums, 1, vectors);
    TIN_UNROLL for (int i = 0; i < 3; i++)
      sum_step(pixels, offsets[step + 1 + i], weights + 32 * vectors * (i + 1),
               more + vectors * i, 1, vectors);
  }
  for (; step < steps; step++, weights += 32 * vectors)
    sum_step(pixels, offsets[step], weights, sums, 1, vectors);
  TIN_UNROLL for (int i = 0; i < 3; i++) TIN_UNROLL for (int v = 0; v < vectors; v++)
    sums[v] = _mm256_add_epi32(sums[v], more[i * vectors + v]);
}

TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *const *pixels, __m256i *sums,
                          int count, int vectors) {
  if (count == 1) {
    sum_pixel(tile, pixels, sums, vectors);
    return;
  }
  const int32_t *offsets = tin_tile_offsets(tile), steps = tile->ones;
  const int8_t *weights = tin_tile_weights(tile);
  for (int32_t step = 0; step < steps; step++, weights += 32 * vectors)
    sum_step(pixels, offsets[step], weights, sums, count, vectors);
}

static const struct tin_convolution AVXVNNI = {{4, 16, 1, 0x80, TIN_SUMS_INT32, 1, 1, 6}, run_tile, NULL};

TIN_CONVOLUTION_KERNEL(tin_avxvnni_convolution, "avxvnni convolution", AVXVNNI);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
