/* Dense layers with AVX2: a single pixel, for which each weight is read once. Weights stay int8 in
 * memory, whose speed is the limit, and become int16 on the way; vpmaddwd multiplies. */
#ifdef __AVX2__
#include "../convolution.h"
#include "requantize.h"
#include "vectors.h"

/* Adds all steps to `sums[vectors]`. The taps of a dense layer lie one behind the other. */
TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *taps, __m256i *sums,
                          int vectors) {
  const int8_t *weights = tin_tile_weights(tile);
  for (int32_t step = 0; step < tile->ones; step++, taps += 4, weights += 16 * vectors) {
    const __m256i two = spread(taps);
    TIN_UNROLL for (int v = 0; v < vectors; v++) {
      const __m128i narrow = _mm_loadu_si128((const __m128i *)(weights + 16 * v));
      const __m256i products = _mm256_madd_epi16(two, _mm256_cvtepi8_epi16(narrow));
      sums[v] = _mm256_add_epi32(sums[v], products);
      TIN_PIN(sums[v]);
    }
  }
}

/* 8 * `vectors` channels. */
TIN_INLINE void channels_of(const struct tin_tile *tile, const struct tin_band *band, int vectors) {
  __m256i sums[4], wide[2];
  int8_t all[32];
  TIN_UNROLL for (int v = 0; v < vectors; v++) sums[v] = load(tin_tile_bias(tile) + 8 * v);
  sum_steps(tile, band->image + band->windows[0], sums, vectors);
  TIN_READ_AGAIN();
  const struct limits limits = limits_of(band->zero, band->low, band->high);
  TIN_UNROLL for (int v = 0; v < vectors; v += 2)
    wide[v / 2] = sixteen(sums[v], sums[v + 1], tin_tile_scale(tile) + 8 * v, &limits);
  const __m256i codes = codes_of(wide[0], wide[vectors / 2 - 1], &limits);
  if (tile->channels == 32) {
    _mm256_storeu_si256((__m256i *)(band->out + tile->channel), codes);
  } else {
    _mm256_storeu_si256((__m256i *)all, codes);
    memcpy(band->out + tile->channel, all, (size_t)tile->channels);
  }
}

static __attribute__((noinline)) void dense_32(const struct tin_tile *tile,
                                               const struct tin_band *band) {
  channels_of(tile, band, 4);
}

static __attribute__((noinline)) void dense_16(const struct tin_tile *tile,
                                               const struct tin_band *band) {
  channels_of(tile, band, 2);
}

static void run_tile(const struct tin_tile *tile, const struct tin_band *band) {
  if (tile->lanes == 32) dense_32(tile, band);
  else dense_16(tile, band);
}

static void widen(int16_t *to, const uint8_t *codes, size_t count) {
  widen_codes(to, codes, count);
}

static const struct tin_convolution DENSE = {{2, 32, 1, 0, TIN_SUMS_INT32, 2, 1}, run_tile, widen};

/* Whether it multiplies no more often than the kernel that sums in int16. */
static int serves(const struct tin_product *p) {
  const struct tin_step_form other = TIN_AVX2_FORM;
  return p->out_h == 1 && p->out_w == 1 && p->kernel_h == 1 && p->kernel_w == 1 && p->groups == 1 &&
         tin_convolution_serves(p) &&
         tin_steps_lanes(&DENSE.form, p) <= tin_steps_lanes(&other, p);
}

TIN_CHOSEN_CONVOLUTION_KERNEL(tin_avx2_dense, "avx2 dense", DENSE, serves);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
