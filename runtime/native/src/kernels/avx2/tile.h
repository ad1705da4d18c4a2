/* A tile of channels over the pixels of a band: 16 or 8 channels of TIN_PIXELS pixels.
 *
 * All sums of a tile stay in registers, eight int32 in each. How a step is multiplied and added is
 * the instruction set's own; the file that includes this one defines TIN_PIXELS, an even number, and
 *
 *   sum_steps(tile, pixels, sums, count, vectors)
 *
 * which adds all steps of a tile to `sums[count * vectors]`, for `count` pixels of `vectors`
 * vectors each.
 */
#ifndef TINSMITH_AVX2_TILE_H
#define TINSMITH_AVX2_TILE_H

#include "../convolution.h"
#include "requantize.h"
#include "vectors.h"

TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *const *pixels, __m256i *sums,
                          int count, int vectors);

TIN_INLINE void start_sums(const struct tin_tile *tile, const struct tin_band *band, int32_t first,
                           const uint8_t **pixels, __m256i *sums, int count, int vectors) {
  TIN_UNROLL for (int i = 0; i < count; i++) {
    pixels[i] = band->image + band->windows[first + i];
    TIN_UNROLL for (int v = 0; v < vectors; v++)
      sums[i * vectors + v] = load(tin_tile_bias(tile) + 8 * v);
  }
}

/* Stores what exists of `count` pixels, 16 codes each. */
TIN_INLINE void store_pixels(const struct tin_tile *tile, const struct tin_band *band,
                             int32_t first, const __m128i *codes, int count) {
  const int32_t left = band->pixels - first, stored = left < count ? left : count;
  int8_t *out = band->out + (size_t)first * band->out_c + tile->channel;
  if (tile->channels == 16 && stored == count) {
    TIN_UNROLL for (int i = 0; i < count; i++)
      _mm_storeu_si128((__m128i *)(out + (size_t)i * band->out_c), codes[i]);
  } else if (tile->channels == 8 && stored == count) {
    TIN_UNROLL for (int i = 0; i < count; i++)
      _mm_storel_epi64((__m128i *)(out + (size_t)i * band->out_c), codes[i]);
  } else {
    int8_t all[16 * TIN_PIXELS];
    TIN_UNROLL for (int i = 0; i < count; i++)
      _mm_storeu_si128((__m128i *)(all + 16 * i), codes[i]);
    for (int32_t i = 0; i < stored; i++)
      memcpy(out + (size_t)i * band->out_c, all + 16 * i, (size_t)tile->channels);
  }
}

/* `count` pixels x 16 channels. */
TIN_INLINE void wide(const struct tin_tile *tile, const struct tin_band *band, int32_t first,
                     int count) {
  const uint8_t *pixels[TIN_PIXELS];
  __m256i sums[2 * TIN_PIXELS];
  __m128i codes[TIN_PIXELS];
  start_sums(tile, band, first, pixels, sums, count, 2);
  sum_steps(tile, pixels, sums, count, 2);
  TIN_READ_AGAIN();
  const struct limits limits = limits_of(band->zero, band->low, band->high);
  const float *scale = tin_tile_scale(tile);
  TIN_UNROLL for (int i = 0; i < count; i += 2) {
    const int next = count == 1 ? 0 : i + 1;
    const __m256i both = codes_of(sixteen(sums[2 * i], sums[2 * i + 1], scale, &limits),
                                  sixteen(sums[2 * next], sums[2 * next + 1], scale, &limits),
                                  &limits);
    codes[i] = _mm256_castsi256_si128(both);
    codes[next] = count == 1 ? codes[i] : _mm256_extracti128_si256(both, 1);
  }
  store_pixels(tile, band, first, codes, count);
}

/* `count` pixels x 8 channels. Two pixels make sixteen lanes. */
TIN_INLINE void narrow(const struct tin_tile *tile, const struct tin_band *band, int32_t first,
                       int count) {
  const uint8_t *pixels[TIN_PIXELS];
  __m256i sums[TIN_PIXELS];
  __m128i codes[TIN_PIXELS];
  start_sums(tile, band, first, pixels, sums, count, 1);
  sum_steps(tile, pixels, sums, count, 1);
  TIN_READ_AGAIN();
  const struct limits limits = limits_of(band->zero, band->low, band->high);
  const float *scale = tin_tile_scale(tile);
  TIN_UNROLL for (int i = 0; i < count; i += 2) {
    const int next = count == 1 ? 0 : i + 1;
    const __m256i steps = _mm256_packs_epi32(steps_of(sums[i], scale, &limits),
                                             steps_of(sums[next], scale, &limits));
    const __m256i both = _mm256_adds_epi16(_mm256_permute4x64_epi64(steps, 0xd8), limits.zero);
    const __m256i bytes = _mm256_max_epi8(_mm256_packs_epi16(both, both), limits.low);
    codes[i] = _mm256_castsi256_si128(bytes);
    codes[next] = count == 1 ? codes[i] : _mm256_extracti128_si256(bytes, 1);
  }
  store_pixels(tile, band, first, codes, count);
}

static __attribute__((noinline)) void tile_16(const struct tin_tile *tile,
                                                const struct tin_band *band) {
  for (int32_t i = 0; i < band->pixels; i += TIN_PIXELS) wide(tile, band, i, TIN_PIXELS);
}

static __attribute__((noinline)) void pixel_16(const struct tin_tile *tile,
                                                const struct tin_band *band, int32_t pixel) {
  wide(tile, band, pixel, 1);
}

static __attribute__((noinline)) void tile_8(const struct tin_tile *tile,
                                               const struct tin_band *band) {
  for (int32_t i = 0; i < band->pixels; i += TIN_PIXELS) narrow(tile, band, i, TIN_PIXELS);
}

static __attribute__((noinline)) void pixel_8(const struct tin_tile *tile,
                                               const struct tin_band *band, int32_t pixel) {
  narrow(tile, band, pixel, 1);
}

/* A single pixel left over, or a dense layer's only one, is not worth a full tile. */
static void run_tile(const struct tin_tile *tile, const struct tin_band *band) {
  struct tin_band many = *band;
  if (band->pixels % TIN_PIXELS == 1) many.pixels--;
  if (tile->lanes == 16) {
    tile_16(tile, &many);
    if (many.pixels != band->pixels) pixel_16(tile, band, many.pixels);
  } else {
    tile_8(tile, &many);
    if (many.pixels != band->pixels) pixel_8(tile, band, many.pixels);
  }
}

#endif
