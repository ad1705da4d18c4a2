/* Dense layers with AVX2: a single pixel, for which each weight is read once.
 *
 * Sums in int16 are cheap, but 255 * 127 leaves no room for a second product. So a code is taken as
 * 8 * high + low. Eight products high * w sum to at most 8 * 31 * 127 < 2^15: four steps go together.
 * 32 products low * w sum to at most 32 * 7 * 127 < 2^15: sixteen steps do.
 */
#ifdef __AVX2__
#include "../convolution.h"
#include "requantize.h"
#include "vectors.h"

enum { HIGH_STEPS = 4, LOW_STEPS = 16, STEP_BYTES = 8 };

#define SIXTEEN(n) {n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n}
static const _Alignas(32) int16_t EIGHTS[16] = SIXTEEN(8), ONES[16] = SIXTEEN(1);

/* Adds pairs of int16, times `factors`, to a sum in int32. The factors stay in memory: all registers
 * are taken. */
TIN_INLINE void add_pairs(__m256i *sum, __m256i pairs, const int16_t *factors) {
  __m256i products;
  __asm__("vpmaddwd %2, %1, %0" : "=x"(products) : "x"(pairs), "m"(*(const __m256i *)factors));
  TIN_ADD_32(*sum, products);
}

/* Adds the products of 1 or HIGH_STEPS steps: those of `high` to `sums[vectors]`, int32, those of
 * `low` to `lows[vectors]`, int16. */
TIN_INLINE void sum_some(const int8_t *weights, const uint8_t *codes, __m256i *sums, __m256i *lows,
                         int steps, int vectors) {
  __m256i highs[4];
  TIN_UNROLL for (int step = 0; step < steps; step++) {
    const __m256i high = spread(codes + STEP_BYTES * step);
    const __m256i low = spread(codes + STEP_BYTES * step + 4);
    TIN_UNROLL for (int v = 0; v < vectors; v++) {
      __m256i weight = load(weights + 32 * (vectors * step + v));
      TIN_PIN(weight);
      if (step == 0) highs[v] = _mm256_maddubs_epi16(high, weight);
      else TIN_ADD_16(highs[v], _mm256_maddubs_epi16(high, weight));
      TIN_ADD_16(lows[v], _mm256_maddubs_epi16(low, weight));
    }
  }
  TIN_UNROLL for (int v = 0; v < vectors; v++)
    add_pairs(&sums[v], highs[v], EIGHTS);
}

/* Adds all steps to `sums[vectors]`. */
TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *codes, __m256i *sums,
                          int vectors) {
  const int8_t *weights = tin_tile_weights(tile);
  for (int32_t left = tile->ones; left > 0;) {
    __m256i lows[4];
    int32_t some = left < LOW_STEPS ? left : LOW_STEPS;
    left -= some;
    TIN_UNROLL for (int v = 0; v < vectors; v++) lows[v] = _mm256_setzero_si256();
    for (; some >= HIGH_STEPS; some -= HIGH_STEPS) {
      sum_some(weights, codes, sums, lows, HIGH_STEPS, vectors);
      weights += 32 * vectors * HIGH_STEPS;
      codes += STEP_BYTES * HIGH_STEPS;
    }
    TIN_NO_UNROLL for (; some > 0; some--, weights += 32 * vectors, codes += STEP_BYTES)
      sum_some(weights, codes, sums, lows, 1, vectors);
    TIN_UNROLL for (int v = 0; v < vectors; v++)
      add_pairs(&sums[v], lows[v], ONES);
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

/* Writes codes as steps: `high` of four, then their `low`. */
static void split(int16_t *to, const uint8_t *codes, size_t count) {
  uint8_t *steps = (uint8_t *)to;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i signed_codes = _mm_loadu_si128((const __m128i *)(codes + i));
    const __m128i all = _mm_xor_si128(signed_codes, _mm_set1_epi8(-128));
    const __m128i high = _mm_and_si128(_mm_srli_epi16(all, 3), _mm_set1_epi8(31));
    const __m128i low = _mm_and_si128(all, _mm_set1_epi8(7));
    _mm_storeu_si128((__m128i *)(steps + 2 * i), _mm_unpacklo_epi32(high, low));
    _mm_storeu_si128((__m128i *)(steps + 2 * i + 16), _mm_unpackhi_epi32(high, low));
  }
  for (; i < count; i++) {
    uint8_t *step = steps + i / 4 * STEP_BYTES + i % 4;
    step[0] = (uint8_t)((codes[i] ^ 0x80) >> 3);
    step[4] = codes[i] & 7;
  }
}

static const struct tin_convolution DENSE = {
    {4, 32, 1, 0x80, TIN_SUMS_INT32, 2, 1, 1}, run_tile, split,
};

static int serves(const struct tin_product *p) {
  return p->out_h == 1 && p->out_w == 1 && p->kernel_h == 1 && p->kernel_w == 1 && p->groups == 1 &&
         tin_convolution_serves(p);
}

TIN_CHOSEN_CONVOLUTION_KERNEL(tin_avx2_dense, "avx2 dense", DENSE, serves);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
