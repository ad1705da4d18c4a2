/* A tile of channels over the pixels of a band: 4 * TIN_VECTORS or half as many channels of
 * TIN_PIXELS pixels. All sums stay in registers, four int32 in each.
 *
 * How a step is multiplied and added is the instruction set's own; the file that includes this one
 * defines TIN_PIXELS, TIN_VECTORS, and
 *
 *   sum_steps(tile, pixels, sums, count, vectors)
 *
 * which adds all steps of a tile to `sums[count * vectors]`, for `count` pixels of `vectors`
 * vectors each.
 */
#ifndef TINSMITH_NEON_TILE_H
#define TINSMITH_NEON_TILE_H

#include "../convolution.h"
#include "requantize.h"

TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *const *pixels,
                          int32x4_t *sums, int count, int vectors);

TIN_INLINE void pixels_from(const struct tin_tile *tile, const struct tin_band *band,
                            int32_t first, int count, int vectors) {
  const uint8_t *pixels[TIN_PIXELS];
  int32x4_t sums[TIN_PIXELS * TIN_VECTORS];
  int8_t codes[4 * TIN_PIXELS * TIN_VECTORS];
  TIN_UNROLL for (int i = 0; i < count; i++) {
    pixels[i] = band->image + band->windows[first + i];
    TIN_UNROLL for (int v = 0; v < vectors; v++)
      sums[i * vectors + v] = vld1q_s32(tin_tile_bias(tile) + 4 * v);
  }
  sum_steps(tile, pixels, sums, count, vectors);
  TIN_READ_AGAIN();
  const float *scale = tin_tile_scale(tile);
  TIN_UNROLL for (int i = 0; i < count * vectors; i += 2) {
    const int next = i + 1 < count * vectors ? i + 1 : i; /* a single vector goes twice */
    vst1_s8(codes + 4 * i, codes_of(sums[i], sums[next], scale + 4 * (i % vectors),
                                    scale + 4 * (next % vectors), band->zero, band->low,
                                    band->high));
  }
  const int32_t left = band->pixels - first;
  int8_t *out = band->out + (size_t)first * band->out_c + tile->channel;
  for (int32_t i = 0; i < count && i < left; i++, out += band->out_c) {
    if (tile->channels == 4 * vectors) memcpy(out, codes + 4 * i * vectors, 4 * (size_t)vectors);
    else memcpy(out, codes + 4 * i * vectors, (size_t)tile->channels);
  }
}

static __attribute__((noinline)) void tile_full(const struct tin_tile *tile,
                                                const struct tin_band *band, int32_t pixels) {
  for (int32_t i = 0; i < pixels; i += TIN_PIXELS)
    pixels_from(tile, band, i, TIN_PIXELS, TIN_VECTORS);
}

static __attribute__((noinline)) void pixel_full(const struct tin_tile *tile,
                                                 const struct tin_band *band, int32_t pixel) {
  pixels_from(tile, band, pixel, 1, TIN_VECTORS);
}

static __attribute__((noinline)) void tile_half(const struct tin_tile *tile,
                                                const struct tin_band *band, int32_t pixels) {
  for (int32_t i = 0; i < pixels; i += TIN_PIXELS)
    pixels_from(tile, band, i, TIN_PIXELS, TIN_VECTORS / 2);
}

static __attribute__((noinline)) void pixel_half(const struct tin_tile *tile,
                                                 const struct tin_band *band, int32_t pixel) {
  pixels_from(tile, band, pixel, 1, TIN_VECTORS / 2);
}

/* A single pixel left over, or a dense layer's only one, is not worth a full tile. */
static void run_tile(const struct tin_tile *tile, const struct tin_band *band) {
  const int32_t alone = band->pixels % TIN_PIXELS == 1, many = band->pixels - alone;
  if (tile->lanes == 4 * TIN_VECTORS) {
    tile_full(tile, band, many);
    if (alone) pixel_full(tile, band, many);
  } else {
    tile_half(tile, band, many);
    if (alone) pixel_half(tile, band, many);
  }
}

#endif
