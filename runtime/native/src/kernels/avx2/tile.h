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

/* What of a tile and a band is the same for all pixels. */
struct work {
  const struct tin_tile *tile;
  const struct tin_band *band;
  struct limits limits;
  int8_t *out; /* the tile's channels of the first pixel */
};

TIN_INLINE struct work work_of(const struct tin_tile *tile, const struct tin_band *band) {
  return (struct work){tile, band, limits_of(band->zero, band->low, band->high),
                       band->out + tile->channel};
}

TIN_INLINE void start_sums(const struct work *work, int32_t first, const uint8_t **pixels,
                           __m256i *sums, int count, int vectors) {
  TIN_UNROLL for (int i = 0; i < count; i++) {
    pixels[i] = work->band->image + work->band->windows[first + i];
    TIN_UNROLL for (int v = 0; v < vectors; v++)
      sums[i * vectors + v] = load(tin_tile_bias(work->tile) + 8 * v);
  }
}

/* Stores the first `stored` of some pixels, whose codes begin every `bytes`. */
TIN_INLINE void store_some(const struct work *work, int8_t *out, const void *codes, int32_t stored,
                           size_t bytes) {
  for (int32_t i = 0; i < stored; i++)
    memcpy(out + (size_t)i * work->band->out_c, (const int8_t *)codes + i * bytes,
           (size_t)work->tile->channels);
}

TIN_INLINE void finish_wide(const struct work *work, int32_t first, const __m256i *sums, int count,
                            int far) {
  __m128i codes[TIN_PIXELS];
  const ptrdiff_t out_c = work->band->out_c;
  const float *scale = tin_tile_scale(work->tile);
  const int32_t left = work->band->pixels - first, stored = left < count ? left : count;
  int8_t *out = work->out + first * out_c;
  TIN_UNROLL for (int i = 0; i + 1 < count; i += 2)
    two_pixels(sums + 2 * i, sums + 2 * i + 2, scale, &work->limits, far, codes + i);
  if (count == 1) {
    __m128i twice[2];
    two_pixels(sums, sums, scale, &work->limits, far, twice);
    codes[0] = twice[0];
  }
  if (work->tile->channels == 16 && stored == count) {
    TIN_UNROLL for (int i = 0; i < count; i++)
      _mm_storeu_si128((__m128i *)(out + i * out_c), codes[i]);
  } else {
    __m128i all[TIN_PIXELS];
    TIN_UNROLL for (int i = 0; i < count; i++) _mm_storeu_si128(all + i, codes[i]);
    store_some(work, out, all, stored, 16);
  }
}

/* `count` pixels x 16 channels. */
TIN_INLINE void wide(const struct work *work, int32_t first, int count) {
  const uint8_t *pixels[TIN_PIXELS];
  __m256i sums[2 * TIN_PIXELS];
  start_sums(work, first, pixels, sums, count, 2);
  sum_steps(work->tile, pixels, sums, count, 2);
  TIN_READ_AGAIN();
  if (work->tile->far) finish_wide(work, first, sums, count, 1);
  else finish_wide(work, first, sums, count, 0);
}

TIN_INLINE void finish_narrow(const struct work *work, int32_t first, const __m256i *sums,
                              int count, int far) {
  __m128i codes[TIN_PIXELS / 2 + 2];
  const ptrdiff_t out_c = work->band->out_c;
  const float *scale = tin_tile_scale(work->tile);
  const int32_t left = work->band->pixels - first, stored = left < count ? left : count;
  int8_t *out = work->out + first * out_c;
  TIN_UNROLL for (int i = 0; i < count; i += 4) {
    const int last = count - 1;
    four_pixels(sums[i], sums[i + 1 < last ? i + 1 : last], sums[i + 2 < last ? i + 2 : last],
                sums[i + 3 < last ? i + 3 : last], scale, &work->limits, far, codes + i / 2);
  }
  if (work->tile->channels == 8 && stored == count) {
    TIN_UNROLL for (int i = 0; i < count; i++) {
      __m128d two = _mm_castsi128_pd(codes[i / 2]);
      if (i % 2 == 0) _mm_storel_pd((double *)(void *)(out + i * out_c), two);
      else _mm_storeh_pd((double *)(void *)(out + i * out_c), two);
    }
  } else {
    __m128i all[TIN_PIXELS / 2 + 2];
    TIN_UNROLL for (int i = 0; i < count; i += 2) _mm_storeu_si128(all + i / 2, codes[i / 2]);
    store_some(work, out, all, stored, 8);
  }
}

/* `count` pixels x 8 channels. */
TIN_INLINE void narrow(const struct work *work, int32_t first, int count) {
  const uint8_t *pixels[TIN_PIXELS];
  __m256i sums[TIN_PIXELS];
  start_sums(work, first, pixels, sums, count, 1);
  sum_steps(work->tile, pixels, sums, count, 1);
  TIN_READ_AGAIN();
  if (work->tile->far) finish_narrow(work, first, sums, count, 1);
  else finish_narrow(work, first, sums, count, 0);
}

static __attribute__((noinline)) void tile_16(const struct tin_tile *tile,
                                                const struct tin_band *band) {
  const struct work work = work_of(tile, band);
  TIN_IN_MEMORY(work);
  for (int32_t i = 0; i < band->pixels; i += TIN_PIXELS) wide(&work, i, TIN_PIXELS);
}

static __attribute__((noinline)) void pixel_16(const struct tin_tile *tile,
                                                const struct tin_band *band, int32_t pixel) {
  const struct work work = work_of(tile, band);
  TIN_IN_MEMORY(work);
  wide(&work, pixel, 1);
}

static __attribute__((noinline)) void tile_8(const struct tin_tile *tile,
                                               const struct tin_band *band) {
  const struct work work = work_of(tile, band);
  TIN_IN_MEMORY(work);
  for (int32_t i = 0; i < band->pixels; i += TIN_PIXELS) narrow(&work, i, TIN_PIXELS);
}

static __attribute__((noinline)) void pixel_8(const struct tin_tile *tile,
                                               const struct tin_band *band, int32_t pixel) {
  const struct work work = work_of(tile, band);
  TIN_IN_MEMORY(work);
  narrow(&work, pixel, 1);
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
