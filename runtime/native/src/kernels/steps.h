/* A convolution as a list of steps: the form in which the vector kernels keep their weights.
 *
 * A window is cut into steps of `taps` values that lie beside each other in the image (image.h).
 * Output channels are cut into tiles. A vector kernel loads one step of a pixel, spreads it over a
 * vector, and multiplies it by the step's weights for all channels of a tile at once.
 *
 * Steps add to int32, so their order is free. Where the instruction sums products in int16, `pack`
 * uses that: it looks at the weights and puts as many steps into a group as can never leave int16,
 * whatever the codes are. A group of four is widened to int32 once, not four times. A step that
 * leaves int16 by itself is written as the sum of two.
 */
#ifndef TINSMITH_STEPS_H
#define TINSMITH_STEPS_H

#include "kernels.h"

enum tin_sums {
  TIN_SUMS_INT32,    /* products of int16, and dot product instructions: each step alone */
  TIN_SUMS_UNSIGNED, /* two taps with codes 0..255 in each int16: vpmaddubsw */
  TIN_SUMS_SIGNED,   /* one tap with codes -128..127 in each int16: smull */
};

/* What an instruction set wants. */
struct tin_step_form {
  int32_t taps;        /* weights that a channel has in a step, at most 4 */
  int32_t lanes;       /* channels in a full tile, at most 32; the last may have half as many */
  int32_t swapped;     /* 1: channels 4..7 and 8..11 of 16 change places, for AVX2's packing */
  uint8_t flip;        /* 0x80: the image holds codes 0..255; 0: codes -128..127 */
  enum tin_sums sums;
  int32_t code_bytes;   /* of a code in the image, 1 or 2 */
  int32_t weight_bytes; /* of a weight, 1 or 2 */
  int32_t pixels;       /* that are computed together */
};

/* Output channels channel .. channel + channels - 1. In memory, each at a multiple of 64 bytes:
 * this struct; bias, int32 (lanes); scale, float (lanes); offset of each step in the image, int32
 * (steps), in bytes; weights, int8 or int16 (steps, lanes, taps). First the steps in groups of four,
 * then those in groups of two, then single ones. */
struct tin_tile {
  int32_t channel;
  int16_t channels, lanes, taps;
  int16_t far; /* 1: a sum may be 2^30 steps of the output or more */
  int32_t fours, twos, ones; /* groups, not steps */
  int32_t bytes;             /* from this tile to the next */
  int16_t all_ones[16];      /* a vector for kernels that have no register to spare for it */
};

static inline int32_t tin_tile_steps(const struct tin_tile *tile) {
  return 4 * tile->fours + 2 * tile->twos + tile->ones;
}

static inline const int32_t *tin_tile_bias(const struct tin_tile *tile) {
  return (const int32_t *)((const char *)tile + TIN_ALIGNMENT);
}

static inline const float *tin_tile_scale(const struct tin_tile *tile) {
  return (const float *)((const char *)tin_tile_bias(tile) + tin_aligned(4 * (size_t)tile->lanes));
}

static inline const int32_t *tin_tile_offsets(const struct tin_tile *tile) {
  return (const int32_t *)((const char *)tin_tile_scale(tile) +
                           tin_aligned(4 * (size_t)tile->lanes));
}

static inline const int8_t *tin_tile_weights(const struct tin_tile *tile) {
  return (const int8_t *)tin_tile_offsets(tile) + tin_aligned(4 * (size_t)tin_tile_steps(tile));
}

static inline const struct tin_tile *tin_tile_next(const struct tin_tile *tile) {
  return (const struct tin_tile *)((const char *)tile + tile->bytes);
}

/* How much memory the tiles of a product take, in bytes, or 0 if that is 2^31 or more. */
size_t tin_steps_bytes(const struct tin_step_form *form, const struct tin_product *product);

/* How many lanes of int32 the multiplications of a pixel fill in all: what a choice between kernels
 * can go by. */
uint64_t tin_steps_lanes(const struct tin_step_form *form, const struct tin_product *product);

/* Writes the tiles, in the order of their channels. */
void tin_steps_pack(const struct tin_step_form *form, const struct tin_product *product,
                    void *packed);

#endif
