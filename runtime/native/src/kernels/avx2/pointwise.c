/* Convolution of 1 x 1 with AVX2, for weights too large for many sums in int16.
 *
 * vpmaddubsw adds the products of two neighbouring taps in int16. Which channels of the input are
 * neighbours is free in a kernel of one pixel: here they change places within blocks of 16, which
 * one vpshufb does, so that a large weight meets small ones. Each pair of tiles has an order of its
 * own, and a copy of the band's pixels in that order. The tiles themselves are convolution.c's.
 */
#ifdef __AVX2__
#include "../convolution.h"
#include "vectors.h"

enum {
  BLOCK = 16,          /* channels of the input that change places */
  LANES = 16,          /* channels of a tile */
  SHARED = 2 * LANES,  /* channels of the output that share an order */
  BAND = 52,           /* pixels at most */
  MOST_CHANNELS = 2048,
  TOO_LARGE = 1 << 10, /* what a pair costs that does not fit into int16 */
};

void tin_avx2_run_tile(const struct tin_tile *tile, const struct tin_band *band);

static const struct tin_step_form FORM = TIN_AVX2_FORM;

static int32_t padded(const struct tin_product *p) { return (p->in_c + BLOCK - 1) / BLOCK * BLOCK; }

/* The first of the 16 channels that hold a block: the last block lies over the one before it. */
static int32_t block_start(const struct tin_product *p, int32_t block) {
  return block * BLOCK + BLOCK <= p->in_c ? block * BLOCK : p->in_c - BLOCK;
}

/* Weights above and below 0 of a block's channels, for up to SHARED output channels. */
struct block {
  uint8_t plus[BLOCK][SHARED], minus[BLOCK][SHARED];
};

static void read_block(const struct tin_product *p, int32_t channel, int32_t block,
                       struct block *to) {
  const int32_t rest = p->out_c - channel, rows = rest < SHARED ? rest : SHARED;
  const int32_t left = p->in_c - block * BLOCK, count = left < BLOCK ? left : BLOCK;
  memset(to, 0, sizeof *to);
  for (int32_t row = 0; row < rows; row++) {
    const int8_t *weights = p->weights + (size_t)(channel + row) * p->in_c + block * BLOCK;
    for (int32_t i = 0; i < count; i++) {
      if (weights[i] > 0) to->plus[i][row] = (uint8_t)weights[i];
      else to->minus[i][row] = (uint8_t)-weights[i];
    }
  }
}

/* What it costs to have two channels of a block beside each other. */
static int32_t pair_cost(const struct block *block, int32_t one, int32_t other) {
  int32_t cost = 0;
  for (int32_t tile = 0; tile < SHARED; tile += LANES) {
    uint8_t most = 0;
    for (int32_t lane = tile; lane < tile + LANES; lane++) {
      const uint8_t plus = (uint8_t)(block->plus[one][lane] + block->plus[other][lane]);
      const uint8_t minus = (uint8_t)(block->minus[one][lane] + block->minus[other][lane]);
      const uint8_t larger = plus > minus ? plus : minus;
      if (larger > most) most = larger;
    }
    cost += most + (most > 128 ? TOO_LARGE : 0);
  }
  return cost;
}

/* Exchanges members of two pairs, `order[one]` with the one behind it and `order[other]` likewise, if
 * that costs less. Gives whether it did. */
static int improve(int32_t cost[BLOCK][BLOCK], uint8_t *order, int32_t one, int32_t other) {
  const uint8_t a = order[one], b = order[one + 1], c = order[other], d = order[other + 1];
  const int32_t now = cost[a][b] + cost[c][d];
  const int32_t first = cost[a][c] + cost[b][d], second = cost[a][d] + cost[c][b];
  if (first >= now && second >= now) return 0;
  order[one + 1] = first < second ? c : d;
  order[first < second ? other : other + 1] = b;
  return 1;
}

/* The channels of a block, so that pairs cost little. Steps have two pairs: costly ones come first. */
static void find_order(const struct tin_product *p, int32_t channel, int32_t block,
                       uint8_t *order) {
  struct block weights;
  int32_t cost[BLOCK][BLOCK];
  read_block(p, channel, block, &weights);
  for (int32_t one = 0; one < BLOCK; one++) {
    order[one] = (uint8_t)one;
    for (int32_t other = 0; other < one; other++)
      cost[one][other] = cost[other][one] = pair_cost(&weights, one, other);
  }
  for (int changed = 1; changed;) {
    changed = 0;
    for (int32_t one = 0; one < BLOCK; one += 2)
      for (int32_t other = 0; other < one; other += 2) changed |= improve(cost, order, other, one);
  }
  for (int32_t end = BLOCK - 2; end > 0; end -= 2)
    for (int32_t i = 0; i < end; i += 2) {
      uint8_t *pair = order + i, kept[2] = {pair[0], pair[1]};
      if (cost[pair[0]][pair[1]] >= cost[pair[2]][pair[3]]) continue;
      memcpy(pair, pair + 2, 2);
      memcpy(pair + 2, kept, 2);
    }
}

/* Packed, for each group of tiles that share an order: that of all blocks, as vpshufb takes it, uint8
 * (padded); then the tiles. */
static void write_order(const struct tin_product *p, int32_t channel, uint8_t *order) {
  for (int32_t block = 0; block < padded(p) / BLOCK; block++, order += BLOCK) {
    const int32_t before = block * BLOCK - block_start(p, block);
    find_order(p, channel, block, order);
    for (int i = 0; i < BLOCK; i++)
      order[i] = (uint8_t)(order[i] + before < BLOCK ? order[i] + before : 0x80);
  }
}

/* The product that one tile computes, with weights in the order of its group, `int8 (LANES, padded)`. */
static struct tin_product tile_product(const struct tin_product *p, int32_t channel,
                                       const uint8_t *order, int8_t *weights) {
  const int32_t left = p->out_c - channel, length = padded(p);
  struct tin_product tile = *p;
  tile.out_c = left < LANES ? left : LANES;
  tile.in_c = length;
  tile.weights = weights;
  if (p->bias != NULL) tile.bias += channel;
  if (p->scale != NULL) tile.scale += channel;
  for (int32_t row = 0; row < tile.out_c; row++) {
    const int8_t *from = p->weights + (size_t)(channel + row) * p->in_c;
    for (int32_t i = 0; i < length; i++, weights++)
      *weights = order[i] & 0x80 ? 0 : from[block_start(p, i / BLOCK) + order[i]];
  }
  return tile;
}

/* Writes all groups to `packed`, or if that is NULL only measures them. Gives their bytes, or what the
 * multiplications cost if that is asked for. */
static size_t pack_groups(const struct tin_product *p, uint8_t *packed, uint64_t *lanes) {
  uint8_t order[MOST_CHANNELS];
  int8_t weights[LANES * MOST_CHANNELS];
  size_t bytes = 0;
  for (int32_t channel = 0; channel < p->out_c; channel += LANES) {
    if (channel % SHARED == 0) {
      write_order(p, channel, order);
      if (packed != NULL) memcpy(packed + bytes, order, (size_t)padded(p));
      bytes += tin_aligned((size_t)padded(p));
    }
    const struct tin_product tile = tile_product(p, channel, order, weights);
    if (lanes != NULL) *lanes += tin_steps_lanes(&FORM, &tile);
    if (packed != NULL) {
      struct tin_tile *to = (struct tin_tile *)(packed + bytes);
      tin_steps_pack(&FORM, &tile, to);
      to->channel = channel;
      bytes += (size_t)to->bytes;
    } else if (lanes == NULL) {
      bytes += tin_steps_bytes(&FORM, &tile);
    }
  }
  return bytes;
}

/* Whether each pixel of the output sees that of the input, and no other. */
static int pixelwise(const struct tin_product *p) {
  return p->kernel_h == 1 && p->kernel_w == 1 && p->stride_h == 1 && p->stride_w == 1 &&
         p->groups == 1 && p->pad_top == 0 && p->pad_left == 0 && p->out_h == p->in_h &&
         p->out_w == p->in_w;
}

/* Whether it multiplies enough less than the other kernels to be faster; that was measured. */
static int serves(const struct tin_product *p) {
  const struct tin_step_form wide = TIN_AVX2_WIDE_FORM;
  uint64_t lanes = 0;
  if (!pixelwise(p) || p->in_c < BLOCK || p->in_c > MOST_CHANNELS ||
      p->out_h * (int64_t)p->out_w < 4 || !tin_convolution_serves(p))
    return 0;
  pack_groups(p, NULL, &lanes);
  return 6 * lanes < 7 * tin_steps_lanes(&wide, p) && 10 * lanes < 9 * tin_steps_lanes(&FORM, p);
}

static size_t packed_bytes(const struct tin_product *p) { return pack_groups(p, NULL, NULL); }

static void pack(const struct tin_product *p, void *packed) { pack_groups(p, packed, NULL); }

/* Scratch: the pixels of a band; where they begin. */
static size_t image_bytes(const struct tin_product *p) {
  return tin_aligned((size_t)BAND * padded(p) + TIN_IMAGE_SLACK);
}

static size_t scratch_bytes(const struct tin_product *p) {
  return image_bytes(p) + sizeof(int32_t) * (BAND + TIN_BAND_SPARE);
}

TIN_INLINE void shuffle_block(const int8_t *in, const uint8_t *order, uint8_t *to) {
  const __m128i codes = _mm_loadu_si128((const __m128i *)in);
  const __m128i moved = _mm_shuffle_epi8(codes, _mm_load_si128((const __m128i *)order));
  _mm_store_si128((__m128i *)to, _mm_xor_si128(moved, _mm_set1_epi8(-128)));
}

/* Writes pixels in the order of a group, as codes 0..255. */
static void shuffle(const struct tin_product *p, const int8_t *in, int32_t pixels,
                    const uint8_t *order, uint8_t *to) {
  const int32_t length = padded(p);
  const __m256i flip = _mm256_set1_epi8(-128);
  for (int32_t pixel = 0; pixel < pixels; pixel++, in += p->in_c, to += length) {
    int32_t i = 0;
    for (; i + 2 * BLOCK <= p->in_c; i += 2 * BLOCK) {
      const __m256i moved = _mm256_shuffle_epi8(load(in + i), load(order + i));
      _mm256_storeu_si256((__m256i *)(to + i), _mm256_xor_si256(moved, flip));
    }
    for (; i < length; i += BLOCK) shuffle_block(in + block_start(p, i / BLOCK), order + i, to + i);
  }
}

/* Pixels in a band: bands are about as large as each other, and of whole tiles of 4. */
static int32_t band_pixels(int64_t pixels) {
  const int64_t bands = (pixels - 1) / BAND + 1, each = (pixels + bands - 1) / bands;
  return (int32_t)((each + 3) / 4 * 4);
}

static void run(const struct tin_product *p, const void *packed, const int8_t *in, int8_t *out,
                void *scratch, int32_t row_begin, int32_t row_end) {
  uint8_t *const image = scratch;
  int32_t *const windows = (int32_t *)(image + image_bytes(p));
  const int64_t begin = (int64_t)row_begin * p->out_w, end = (int64_t)row_end * p->out_w;
  const int32_t most = band_pixels(end - begin);
  for (int64_t first = begin; first < end; first += most) {
    const int32_t pixels = end - first < most ? (int32_t)(end - first) : most;
    const struct tin_band band = {
        image, windows, pixels, p->out_c, p->out_zero, p->out_min, p->out_max,
        out + (size_t)first * p->out_c,
    };
    const uint8_t *at = packed;
    for (int i = 0; i < pixels + TIN_BAND_SPARE; i++)
      windows[i] = (i < pixels ? i : pixels - 1) * padded(p);
    for (int32_t channel = 0; channel < p->out_c; channel += LANES) {
      if (channel % SHARED == 0) {
        shuffle(p, in + (size_t)first * p->in_c, pixels, at, image);
        at += tin_aligned((size_t)padded(p));
      }
      const struct tin_tile *tile = (const struct tin_tile *)at;
      tin_avx2_run_tile(tile, &band);
      at += tile->bytes;
    }
  }
}

const struct tin_kernel tin_avx2_pointwise = {
    "avx2 pointwise", serves, packed_bytes, pack, scratch_bytes, run,
};

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
