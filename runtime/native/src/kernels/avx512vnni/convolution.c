/* Convolution and dense with AVX-512 VNNI: 32 or 16 channels of 6 pixels.
 *
 * vpdpbusd multiplies four codes 0..255 by four weights and adds all four products to an int32,
 * for 16 channels at once. Sums stay in registers.
 */
#if defined(__AVX512VNNI__) || defined(TIN_THROUGH_SIMDE)
#include <immintrin.h>
#include <string.h>

#include "../convolution.h"

#define TIN_INLINE static inline __attribute__((always_inline))
#define TIN_UNROLL _Pragma("GCC unroll 16")

enum { PIXELS = 6 };

/* Four bytes of the image in every lane. */
TIN_INLINE __m512i spread(const uint8_t *taps) {
  int32_t four;
  memcpy(&four, taps, 4);
  return _mm512_set1_epi32(four);
}

/* Adds one step to the sums of `count` pixels of `vectors` vectors each. */
TIN_INLINE void sum_step(const uint8_t *const *pixels, ptrdiff_t offset, const int8_t *weights,
                         __m512i *sums, int count, int vectors) {
  __m512i weight[2];
  TIN_UNROLL for (int v = 0; v < vectors; v++) weight[v] = _mm512_loadu_si512(weights + 64 * v);
  TIN_UNROLL for (int i = 0; i < count; i++) {
    const __m512i taps = spread(pixels[i] + offset);
    TIN_UNROLL for (int v = 0; v < vectors; v++)
      sums[i * vectors + v] = _mm512_dpbusd_epi32(sums[i * vectors + v], taps, weight[v]);
  }
}

/* A single pixel has too few sums to keep the multipliers busy, so it gets four of each. */
TIN_INLINE void sum_pixel(const struct tin_tile *tile, const uint8_t *const *pixels,
                          __m512i *sums, int vectors) {
  const int32_t *offsets = tin_tile_offsets(tile), steps = tile->ones;
  const int8_t *weights = tin_tile_weights(tile);
  __m512i more[6];
  int32_t step = 0;
  TIN_UNROLL for (int i = 0; i < 3 * vectors; i++) more[i] = _mm512_setzero_si512();
  for (; step + 4 <= steps; step += 4, weights += 256 * vectors) {
    sum_step(pixels, offsets[step], weights, sums, 1, vectors);
    TIN_UNROLL for (int i = 0; i < 3; i++)
      sum_step(pixels, offsets[step + 1 + i], weights + 64 * vectors * (i + 1),
               more + vectors * i, 1, vectors);
  }
  for (; step < steps; step++, weights += 64 * vectors)
    sum_step(pixels, offsets[step], weights, sums, 1, vectors);
  TIN_UNROLL for (int i = 0; i < 3; i++) TIN_UNROLL for (int v = 0; v < vectors; v++)
    sums[v] = _mm512_add_epi32(sums[v], more[i * vectors + v]);
}

TIN_INLINE void sum_pixels(const struct tin_tile *tile, const uint8_t *const *pixels,
                           __m512i *sums, int count, int vectors) {
  const int32_t *offsets = tin_tile_offsets(tile), steps = tile->ones;
  const int8_t *weights = tin_tile_weights(tile);
  for (int32_t step = 0; step < steps; step++, weights += 64 * vectors)
    sum_step(pixels, offsets[step], weights, sums, count, vectors);
}

/* Sixteen sums become codes, as tin_requantize (rounding.h) does it: what is far below the least
 * code becomes -2^31, and the saturating steps that follow take it there. */
TIN_INLINE __m128i codes_of(__m512i sums, const float *scale, const struct tin_band *band) {
  const __m512 most = _mm512_set1_ps((float)(band->high - band->zero));
  const __m512 steps = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(scale));
  const __m512i whole = _mm512_cvtps_epi32(_mm512_min_ps(steps, most));
  const __m256i zero = _mm256_set1_epi16((int16_t)band->zero);
  const __m256i codes = _mm256_adds_epi16(_mm512_cvtsepi32_epi16(whole), zero);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(codes),
                                        _mm256_extracti128_si256(codes, 1));
  return _mm_max_epi8(bytes, _mm_set1_epi8((int8_t)band->low));
}

TIN_INLINE void store_codes(int8_t *out, __m128i codes, int32_t count) {
  int8_t all[16];
  if (count >= 16) {
    _mm_storeu_si128((__m128i *)out, codes);
  } else if (count > 0) {
    _mm_storeu_si128((__m128i *)all, codes);
    memcpy(out, all, (size_t)count);
  }
}

TIN_INLINE void pixels_from(const struct tin_tile *tile, const struct tin_band *band,
                            int32_t first, int count, int vectors) {
  const uint8_t *pixels[PIXELS];
  __m512i sums[2 * PIXELS];
  TIN_UNROLL for (int i = 0; i < count; i++) {
    pixels[i] = band->image + band->windows[first + i];
    TIN_UNROLL for (int v = 0; v < vectors; v++)
      sums[i * vectors + v] = _mm512_loadu_si512(tin_tile_bias(tile) + 16 * v);
  }
  if (count == 1) sum_pixel(tile, pixels, sums, vectors);
  else sum_pixels(tile, pixels, sums, count, vectors);
  TIN_UNROLL for (int i = 0; i < count; i++) {
    if (first + i >= band->pixels) continue;
    int8_t *out = band->out + (size_t)(first + i) * band->out_c + tile->channel;
    TIN_UNROLL for (int v = 0; v < vectors; v++)
      store_codes(out + 16 * v,
                  codes_of(sums[i * vectors + v], tin_tile_scale(tile) + 16 * v, band),
                  tile->channels - 16 * v);
  }
}

static __attribute__((noinline)) void tile_32(const struct tin_tile *tile,
                                              const struct tin_band *band, int32_t pixels) {
  for (int32_t i = 0; i < pixels; i += PIXELS) pixels_from(tile, band, i, PIXELS, 2);
}

static __attribute__((noinline)) void pixel_32(const struct tin_tile *tile,
                                               const struct tin_band *band, int32_t pixel) {
  pixels_from(tile, band, pixel, 1, 2);
}

static __attribute__((noinline)) void tile_16(const struct tin_tile *tile,
                                              const struct tin_band *band, int32_t pixels) {
  for (int32_t i = 0; i < pixels; i += PIXELS) pixels_from(tile, band, i, PIXELS, 1);
}

static __attribute__((noinline)) void pixel_16(const struct tin_tile *tile,
                                               const struct tin_band *band, int32_t pixel) {
  pixels_from(tile, band, pixel, 1, 1);
}

/* A single pixel left over, or a dense layer's only one, is not worth a full tile. */
static void run_tile(const struct tin_tile *tile, const struct tin_band *band) {
  const int32_t alone = band->pixels % PIXELS == 1, many = band->pixels - alone;
  if (tile->lanes == 32) {
    tile_32(tile, band, many);
    if (alone) pixel_32(tile, band, many);
  } else {
    tile_16(tile, band, many);
    if (alone) pixel_16(tile, band, many);
  }
}

static const struct tin_convolution AVX512VNNI = {{4, 32, 0, 0x80, TIN_SUMS_INT32, 1, 1, 6}, run_tile, NULL};

TIN_CONVOLUTION_KERNEL(tin_avx512vnni_convolution, "avx512vnni convolution", AVX512VNNI);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
