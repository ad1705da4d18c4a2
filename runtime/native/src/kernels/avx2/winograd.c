/* Convolution with kernels three wide, stride 1, by Winograd's method: with AVX2, twice as fast.
 *
 * Four neighbouring outputs of a row need 12 products a channel and kernel row. F(4, 3) of Winograd
 * (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016) needs 6: sums of six
 * inputs d times sums of three weights w give six products m, and sums of these the outputs y.
 *
 *   v0 = 4 d0 - 5 d2 + d4              u0 = w0                  s = m1 + m2, t = m2 - m1
 *   v1 = d4 + d3 - 4 d2 - 4 d1         u1 = w0 + w1 + w2        p = m3 + m4, r = m3 - m4
 *   v2 = d4 - d3 - 4 d2 + 4 d1         u2 = w0 - w1 + w2
 *   v3 = d4 + 2 d3 - d2 - 2 d1         u3 = w0 + 2 w1 + 4 w2    24 y0 = 6 m0 - 4 s + p
 *   v4 = d4 - 2 d3 - d2 + 2 d1         u4 = w0 - 2 w1 + 4 w2    12 y1 = 2 t + r
 *   v5 = 4 d1 - 5 d3 + d5              u5 = w2                   6 y2 = p - s
 *   m = sum over kernel rows and channels of u * v               6 y3 = t + 2 r + 6 m5
 *
 * All of it on integers, so it is exact: |v| <= 10 * 128 and |u| <= 7 * 127 fit into int16. The
 * divisions leave nothing over. Sums may wrap: what counts is that 24 y fits into int32, and `serves`
 * sees to that. To divide by 3 modulo 2^32 is to multiply by its inverse.
 */
#ifdef __AVX2__
#include "../convolution.h"
#include "requantize.h"

enum {
  QUAD = 4,           /* outputs at once */
  SUMS = 6,           /* products for these */
  LANES = 16,         /* channels of a tile */
  BAND_QUADS = 16,    /* quads that share a tile's weights */
  MOST_WINDOW = 5504, /* 24 * 128 * 127 * 5504 < 2^31 */
  MOST_BYTES = 1 << 26,
};

struct shape {
  int32_t quads;    /* of an output row; the last may reach beyond it */
  int32_t padded;   /* in_c, as a multiple of 16 */
  int32_t pairs;    /* of input channels */
  int32_t height;   /* rows of the image */
  int32_t row;      /* int16 of the v of an image row: (quads, SUMS, padded) */
  int32_t band;     /* output rows in a band */
  size_t row_bytes; /* an image row, and what the last quad and vector reach beyond it */
};

static struct shape shape_of(const struct tin_product *p) {
  struct shape shape;
  shape.quads = (p->out_w + QUAD - 1) / QUAD;
  shape.padded = (p->in_c + 15) / 16 * 16;
  shape.pairs = (p->in_c + 1) / 2;
  shape.height = tin_image_of(p).height;
  shape.row = shape.quads * SUMS * shape.padded;
  shape.band = (BAND_QUADS - 1) / shape.quads + 1;
  shape.row_bytes = tin_aligned((size_t)(shape.quads * QUAD + 2) * p->in_c + 16);
  return shape;
}

static size_t tile_weights(const struct tin_product *p, const struct shape *shape) {
  return (size_t)SUMS * p->kernel_h * shape->pairs * LANES * 2;
}

static int32_t tiles_of(const struct tin_product *p) { return (p->out_c + LANES - 1) / LANES; }

/* Whether it takes fewer multiplications than the other kernels of AVX2, of which one is fast where
 * weights are small. Sums of a pixel's 16 channels go through memory here, which takes as long as 32. */
static int pays(const struct tin_product *p, const struct shape *shape) {
  const struct tin_step_form form = TIN_AVX2_FORM, wide = TIN_AVX2_WIDE_FORM;
  const uint64_t one = tin_steps_lanes(&form, p), other = tin_steps_lanes(&wide, p);
  const uint64_t others = (one < other ? one : other) / 8; /* vectors, of one pixel */
  const uint64_t quad = 2 * SUMS * (uint64_t)p->kernel_h * shape->pairs;
  return tiles_of(p) * (quad * shape->quads + 32 * (uint64_t)p->out_w) < others * p->out_w;
}

/* It needs enough channels on both sides. */
static int serves(const struct tin_product *p) {
  if (p->kernel_w != 3 || p->stride_w != 1 || p->dilation_w != 1 || p->groups != 1) return 0;
  if (p->in_c < 8 || p->out_c < 16 || 4 * p->out_c < 3 * LANES * tiles_of(p)) return 0;
  if ((int64_t)p->kernel_h * 3 * p->in_c > MOST_WINDOW || p->out_w > 1 << 16) return 0;
  const struct shape shape = shape_of(p);
  return 2 * (int64_t)shape.row * shape.height <= MOST_BYTES &&
         2 * tiles_of(p) * (int64_t)tile_weights(p, &shape) <= INT32_MAX && pays(p, &shape);
}

/* Packed, for each tile: bias and scale of its lanes; weights u, int16 (SUMS, kernel_h, pairs,
 * LANES, 2). Lanes are in the order of requantize.h. */
static size_t tile_bytes(const struct tin_product *p, const struct shape *shape) {
  return tin_aligned(8 * LANES + sizeof(int16_t) * tile_weights(p, shape));
}

static size_t packed_bytes(const struct tin_product *p) {
  const struct shape shape = shape_of(p);
  return (size_t)tiles_of(p) * tile_bytes(p, &shape);
}

/* u of three weights that lie `step` apart. */
static int16_t weight_sum(const int8_t *weights, int32_t step, int sum) {
  const int w0 = weights[0], w1 = weights[step], w2 = weights[2 * step];
  const int all[SUMS] = {w0, w0 + w1 + w2, w0 - w1 + w2, w0 + 2 * w1 + 4 * w2,
                         w0 - 2 * w1 + 4 * w2, w2};
  return (int16_t)all[sum];
}

static void pack_lane(const struct tin_product *p, const struct shape *shape, int32_t channel,
                      int32_t lane, int32_t *bias, float *scale, int16_t *to) {
  const int32_t window = p->kernel_h * 3 * p->in_c;
  const int8_t *weights = p->weights + (size_t)channel * window;
  int32_t sum = 0;
  for (int32_t i = 0; i < window; i++) sum += weights[i];
  /* Takes the zero point off all products; what it gives fits into int32, see kernels.h. */
  bias[lane] = (int32_t)((uint32_t)p->bias[channel] - (uint32_t)(p->in_zero * sum));
  scale[lane] = p->scale[channel];
  for (int part = 0; part < SUMS; part++)
    for (int32_t row = 0; row < p->kernel_h; row++)
      for (int32_t c = 0; c < p->in_c; c++) {
        const size_t pair = ((size_t)part * p->kernel_h + row) * shape->pairs + c / 2;
        to[(pair * LANES + lane) * 2 + c % 2] =
            weight_sum(weights + (size_t)row * 3 * p->in_c + c, p->in_c, part);
      }
}

static void pack(const struct tin_product *p, void *packed) {
  const struct shape shape = shape_of(p);
  memset(packed, 0, packed_bytes(p));
  for (int32_t tile = 0; tile < tiles_of(p); tile++) {
    int32_t *bias = (int32_t *)((char *)packed + tile * tile_bytes(p, &shape));
    float *scale = (float *)(bias + LANES);
    for (int32_t lane = 0; lane < LANES; lane++) {
      const int32_t channel = tile * LANES + ((lane & 3) | (lane & 4) << 1 | (lane & 8) >> 1);
      if (channel < p->out_c)
        pack_lane(p, &shape, channel, lane, bias, scale, (int16_t *)(scale + LANES));
    }
  }
}

/* Scratch: a row of the image; v of all its rows; m of a band, int32 (SUMS, quads, LANES); where
 * the v of each quad begin. */
static size_t sums_bytes(const struct shape *shape) {
  return sizeof(int32_t) * SUMS * LANES * ((size_t)shape->band * shape->quads + 4);
}

static size_t image_bytes(const struct shape *shape) {
  return tin_aligned(sizeof(int16_t) * (size_t)shape->height * shape->row + TIN_IMAGE_SLACK);
}

static size_t scratch_bytes(const struct tin_product *p) {
  const struct shape shape = shape_of(p);
  return shape.row_bytes + image_bytes(&shape) + sums_bytes(&shape) +
         sizeof(int32_t) * ((size_t)shape.band * shape.quads + 4);
}

TIN_INLINE __m256i twice(__m256i a) { return _mm256_add_epi16(a, a); }

TIN_INLINE __m256i four_times(__m256i a) { return _mm256_slli_epi16(a, 2); }

/* v of 16 channels of a quad, whose six pixels lie `pixel` bytes apart. */
TIN_INLINE void transform(const int8_t *codes, int32_t pixel, int16_t *to, int32_t padded) {
  __m256i d[6], v[SUMS];
  TIN_UNROLL for (int i = 0; i < 6; i++)
    d[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(codes + i * (size_t)pixel)));
  const __m256i d42 = _mm256_sub_epi16(d[4], d[2]), d31 = _mm256_sub_epi16(d[3], d[1]);
  const __m256i even = _mm256_sub_epi16(d[4], four_times(d[2]));
  const __m256i odd = _mm256_sub_epi16(d[3], four_times(d[1]));
  v[0] = _mm256_add_epi16(four_times(_mm256_sub_epi16(d[0], d[2])), d42);
  v[1] = _mm256_add_epi16(even, odd);
  v[2] = _mm256_sub_epi16(even, odd);
  v[3] = _mm256_add_epi16(d42, twice(d31));
  v[4] = _mm256_sub_epi16(d42, twice(d31));
  v[5] = _mm256_sub_epi16(_mm256_sub_epi16(d[5], d[3]), four_times(d31));
  TIN_UNROLL for (int i = 0; i < SUMS; i++)
    _mm256_storeu_si256((__m256i *)(to + i * (size_t)padded), v[i]);
}

static void transform_row(const struct tin_product *p, const struct shape *shape,
                          const int8_t *row, int16_t *to) {
  for (int32_t quad = 0; quad < shape->quads; quad++, to += SUMS * shape->padded)
    for (int32_t c = 0; c < p->in_c; c += 16)
      transform(row + (size_t)quad * QUAD * p->in_c + c, p->in_c, to + c, shape->padded);
}

/* One m of four quads x 16 channels. `v` has the first row of each quad; rows lie `row` int16
 * apart. */
static __attribute__((noinline)) void sum_quads(const int16_t *const *v, ptrdiff_t row,
                                                int32_t rows, int32_t pairs,
                                                const int16_t *weights, int32_t *to) {
  const int16_t *quads[4];
  __m256i sums[8];
  TIN_UNROLL for (int i = 0; i < 8; i++) sums[i] = _mm256_setzero_si256();
  TIN_UNROLL for (int i = 0; i < 4; i++) quads[i] = v[i];
  for (; rows > 0; rows--) {
    for (ptrdiff_t pair = 0; pair < 2 * (ptrdiff_t)pairs; pair += 2, weights += 2 * LANES) {
      const __m256i low = load(weights), high = load(weights + LANES);
      TIN_UNROLL for (int i = 0; i < 4; i++) {
        const __m256i two = spread((const uint8_t *)(quads[i] + pair));
        TIN_ADD_32(sums[2 * i], _mm256_madd_epi16(two, low));
        TIN_ADD_32(sums[2 * i + 1], _mm256_madd_epi16(two, high));
      }
    }
    TIN_UNROLL for (int i = 0; i < 4; i++) quads[i] += row;
  }
  TIN_UNROLL for (int i = 0; i < 8; i++) _mm256_storeu_si256((__m256i *)(to + 8 * i), sums[i]);
}

/* A multiple of 3 * 2^shift, divided by that. */
TIN_INLINE __m256i divide(__m256i sum, int shift) {
  return _mm256_srai_epi32(_mm256_mullo_epi32(sum, _mm256_set1_epi32((int32_t)0xaaaaaaab)), shift);
}

/* y of eight channels; `m[i]` lie `step` int32 apart. */
TIN_INLINE void outputs_of(const int32_t *m, ptrdiff_t step, __m256i bias, __m256i *y) {
  const __m256i m0 = load(m), m1 = load(m + step), m2 = load(m + 2 * step);
  const __m256i m3 = load(m + 3 * step), m4 = load(m + 4 * step), m5 = load(m + 5 * step);
  const __m256i s = _mm256_add_epi32(m1, m2), t = _mm256_sub_epi32(m2, m1);
  const __m256i p = _mm256_add_epi32(m3, m4), r = _mm256_sub_epi32(m3, m4);
  const __m256i six0 = _mm256_slli_epi32(_mm256_add_epi32(m0, _mm256_add_epi32(m0, m0)), 1);
  const __m256i six5 = _mm256_slli_epi32(_mm256_add_epi32(m5, _mm256_add_epi32(m5, m5)), 1);
  const __m256i twice_t = _mm256_add_epi32(t, t), twice_r = _mm256_add_epi32(r, r);
  y[0] = divide(_mm256_add_epi32(_mm256_sub_epi32(six0, _mm256_slli_epi32(s, 2)), p), 3);
  y[1] = divide(_mm256_add_epi32(twice_t, r), 2);
  y[2] = divide(_mm256_sub_epi32(p, s), 1);
  y[3] = divide(_mm256_add_epi32(_mm256_add_epi32(t, twice_r), six5), 1);
  TIN_UNROLL for (int i = 0; i < QUAD; i++) y[i] = _mm256_add_epi32(y[i], bias);
}

/* The codes of a quad: 16 channels of four pixels. */
TIN_INLINE void finish_quad(const struct tin_product *p, const int32_t *m, ptrdiff_t step,
                            const int32_t *bias, const float *scale, __m128i *codes) {
  __m256i low[QUAD], high[QUAD];
  const struct limits limits = limits_of(p->out_zero, p->out_min, p->out_max);
  outputs_of(m, step, load(bias), low);
  outputs_of(m + 8, step, load(bias + 8), high);
  TIN_UNROLL for (int i = 0; i < QUAD; i += 2) {
    const __m256i one[2] = {low[i], high[i]}, next[2] = {low[i + 1], high[i + 1]};
    two_pixels(one, next, scale, &limits, 1, codes + i);
  }
}

/* Stores `pixels` of a quad, `channels` each. */
TIN_INLINE void store_quad(int8_t *out, int32_t out_c, const __m128i *codes, int32_t pixels,
                           int32_t channels) {
  int8_t all[LANES * QUAD];
  if (channels == LANES && pixels == QUAD) {
    TIN_UNROLL for (int i = 0; i < QUAD; i++)
      _mm_storeu_si128((__m128i *)(out + (size_t)i * out_c), codes[i]);
    return;
  }
  TIN_UNROLL for (int i = 0; i < QUAD; i++) _mm_storeu_si128((__m128i *)(all + 16 * i), codes[i]);
  for (int32_t i = 0; i < pixels; i++)
    memcpy(out + (size_t)i * out_c, all + LANES * i, (size_t)channels);
}

/* What of a band is the same for all tiles. */
struct band {
  const struct shape *shape;
  const int16_t *image;
  const int32_t *quads; /* where the v of each quad begin; the last repeats to a multiple of 4 */
  int32_t row, rows;
  int32_t *sums;
};

/* The sums of one tile for a band. Each of the six goes over all quads, with its weights in the
 * first cache. */
static void sum_band(const struct tin_product *p, const struct band *band, const int16_t *weights) {
  const struct shape *shape = band->shape;
  const int32_t count = band->rows * shape->quads, all = (count + 3) / 4 * 4;
  for (int part = 0; part < SUMS; part++) {
    for (int32_t first = 0; first < count; first += 4) {
      const int16_t *v[4];
      for (int i = 0; i < 4; i++)
        v[i] = band->image + band->quads[first + i] + (size_t)part * shape->padded;
      sum_quads(v, (ptrdiff_t)p->dilation_h * shape->row, p->kernel_h, shape->pairs, weights,
                band->sums + ((size_t)part * all + first) * LANES);
    }
    weights += tile_weights(p, shape) / SUMS;
  }
}

static __attribute__((noinline)) void run_band(const struct tin_product *p, const void *packed,
                                               const struct band *band, int8_t *out) {
  const struct shape *shape = band->shape;
  const ptrdiff_t all = (band->rows * shape->quads + 3) / 4 * 4;
  for (int32_t tile = 0; tile < tiles_of(p); tile++) {
    const int32_t *bias = (const int32_t *)((const char *)packed + tile * tile_bytes(p, shape));
    const float *scale = (const float *)(bias + LANES);
    const int32_t left = p->out_c - tile * LANES, channels = left < LANES ? left : LANES;
    const int32_t *sums = band->sums;
    sum_band(p, band, (const int16_t *)(scale + LANES));
    for (int32_t y = 0; y < band->rows; y++)
      for (int32_t x = 0; x < p->out_w; x += QUAD, sums += LANES) {
        const size_t pixel = (size_t)(band->row + y) * p->out_w + x;
        __m128i codes[QUAD];
        finish_quad(p, sums, all * LANES, bias, scale, codes);
        store_quad(out + pixel * p->out_c + tile * LANES, p->out_c, codes,
                   p->out_w - x < QUAD ? p->out_w - x : QUAD, channels);
      }
  }
}

static void find_quads(const struct tin_product *p, const struct shape *shape, int32_t row,
                       int32_t rows, int32_t *quads) {
  for (int32_t y = row; y < row + rows; y++)
    for (int32_t quad = 0; quad < shape->quads; quad++)
      *quads++ = y * p->stride_h * shape->row + quad * SUMS * shape->padded;
  for (int i = 0; i < 4; i++) quads[i] = quads[-1];
}

static void run(const struct tin_product *p, const void *packed, const int8_t *in, int8_t *out,
                void *scratch, int32_t row_begin, int32_t row_end) {
  const struct shape shape = shape_of(p);
  uint8_t *const codes = scratch;
  int16_t *const image = (int16_t *)(codes + shape.row_bytes);
  int32_t *const sums = (int32_t *)((char *)image + image_bytes(&shape));
  int32_t *const quads = (int32_t *)((char *)sums + sums_bytes(&shape));
  const int32_t reach = (p->kernel_h - 1) * p->dilation_h + 1;
  int32_t written = row_begin * p->stride_h; /* rows of the image before this one are there */
  memset(codes, 0, shape.row_bytes);
  for (int32_t row = row_begin; row < row_end; row += shape.band) {
    const int32_t rows = row_end - row < shape.band ? row_end - row : shape.band;
    const int32_t needed = (row + rows - 1) * p->stride_h + reach;
    for (; written < needed; written++) {
      tin_image_row(p, in, 0, written, codes);
      transform_row(p, &shape, (const int8_t *)codes, image + (size_t)written * shape.row);
    }
    find_quads(p, &shape, row, rows, quads);
    const struct band band = {&shape, image, quads, row, rows, sums};
    run_band(p, packed, &band, out);
  }
}

const struct tin_kernel tin_avx2_winograd = {
    "avx2 winograd", serves, packed_bytes, pack, scratch_bytes, run,
};

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
