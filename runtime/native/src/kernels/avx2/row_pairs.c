/* Depthwise convolution with AVX2, 8 channels at a time, where rows are long enough.
 *
 * vpmaddwd multiplies and sums pairs. Here they are two rows of the image, so that nothing is left
 * to arrange in the inner loop: the image of 8 channels is written with rows 0 and 1 beside each
 * other, 2 and 3, and so on, as int16. A window that begins in an odd row has its own weights,
 * which begin with a 0. The sums of 5 to 8 output columns stay in registers.
 *
 * A band of output rows is so low that its image stays in the nearest caches. All channels of a band
 * are computed before the next one, so that its input comes from far once.
 */
#ifdef __AVX2__
#include "../image.h"
#include "requantize.h"
#include "vectors.h"

enum {
  CHANNELS = 8,
  PIXEL = 2 * CHANNELS, /* int16 of a pixel in two rows */
  LEAST_COLUMNS = 5, /* of a tile */
  MOST_COLUMNS = 8,
  TOGETHER = 4,         /* blocks of 8 channels whose image is written at once */
  BAND_BYTES = 64 << 10,
  MOST_BAND_BYTES = 1 << 26,
  MOST_TAPS = 1 << 16,
};

/* What of a product is the same for all channels. */
struct shape {
  int32_t rows;  /* of the output in a band */
  int32_t pairs; /* of image rows in a band */
  int32_t width; /* of the image */
  int32_t odd;   /* 1: windows begin in odd rows too */
};

/* 8 channels of a band of output rows. */
struct rows {
  const int16_t *image;
  int32_t row;          /* int16 from one pair of rows to the next */
  int32_t count, width; /* of the output */
  int32_t stride_h;
  int32_t taps, tap;     /* of a row of the kernel, and int16 from one to the next */
  int32_t pairs[2];      /* of rows under a window that begins in an even or in an odd row */
  const int32_t *bias;
  const int16_t *weights[2];
  const float *scale;
  struct limits limits;
  size_t channels; /* of the output: from one column to the next */
  int8_t *out;
};

/* The columns of a tile that cover a row with the least work. */
static int32_t tile_columns(int32_t width) {
  int32_t best = MOST_COLUMNS, least = INT32_MAX;
  for (int32_t columns = MOST_COLUMNS; columns >= LEAST_COLUMNS; columns--) {
    const int32_t computed = ((width - 1) / columns + 1) * columns;
    if (columns > width || computed >= least) continue;
    best = columns;
    least = computed;
  }
  return best;
}

static int32_t row_pairs(const struct tin_product *p, int32_t rows) {
  return ((rows - 1) * p->stride_h + p->kernel_h + 1) / 2;
}

static struct shape shape_of(const struct tin_product *p) {
  const struct tin_image image = tin_image_of(p);
  const int64_t pair_bytes = (int64_t)sizeof(int16_t) * PIXEL * image.width;
  const int64_t image_rows = 2 * (BAND_BYTES / (TOGETHER * pair_bytes));
  const int64_t rows = (image_rows - p->kernel_h) / p->stride_h + 1;
  struct shape shape;
  shape.rows = rows < 1 ? 1 : rows < p->out_h ? (int32_t)rows : p->out_h;
  shape.pairs = row_pairs(p, shape.rows);
  shape.width = image.width;
  shape.odd = shape.rows > 1 && p->stride_h % 2 == 1;
  return shape;
}

static int serves(const struct tin_product *p) {
  const int64_t width = tin_image_of(p).width;
  if (p->groups != p->in_c || p->out_c != p->in_c || p->in_c < CHANNELS) return 0;
  if (p->out_w < LEAST_COLUMNS || p->stride_w > 2 || p->dilation_h > 1) return 0;
  if (p->kernel_h * (int64_t)p->kernel_w > MOST_TAPS) return 0;
  return (int64_t)sizeof(int16_t) * PIXEL * TOGETHER * width * (p->kernel_h + 1) <= MOST_BAND_BYTES;
}

/* Packed, for each 8 channels: bias, scale, weights for even rows, weights for odd rows. */
static size_t weights_of(const struct tin_product *p, int32_t odd) {
  return (size_t)(p->kernel_h + odd + 1) / 2 * p->kernel_w * PIXEL;
}

static size_t block_bytes(const struct tin_product *p) {
  const size_t odd = shape_of(p).odd ? weights_of(p, 1) : 0;
  return tin_aligned((sizeof(int32_t) + sizeof(float)) * CHANNELS +
                     sizeof(int16_t) * (weights_of(p, 0) + odd));
}

static int32_t blocks_of(const struct tin_product *p) { return (p->in_c - 1) / CHANNELS + 1; }

/* The last 8 channels may be some of those before, once more. */
static int32_t first_channel(const struct tin_product *p, int32_t block) {
  const int32_t last = p->in_c - CHANNELS;
  return block * CHANNELS < last ? block * CHANNELS : last;
}

static size_t packed_bytes(const struct tin_product *p) { return blocks_of(p) * block_bytes(p); }

static int16_t *write_weights(const struct tin_product *p, const int8_t *from, int32_t odd,
                              int16_t *to) {
  const int32_t taps = p->kernel_h * p->kernel_w;
  for (int32_t row = -odd; row < p->kernel_h; row += 2)
    for (int32_t x = 0; x < p->kernel_w; x++)
      for (int32_t c = 0; c < CHANNELS; c++)
        for (int32_t y = row; y < row + 2; y++)
          *to++ = y < 0 || y >= p->kernel_h ? 0 : from[(size_t)c * taps + y * p->kernel_w + x];
  return to;
}

static void pack(const struct tin_product *p, void *packed) {
  const int32_t taps = p->kernel_h * p->kernel_w, odd = shape_of(p).odd;
  for (int32_t block = 0; block < blocks_of(p); block++) {
    const int32_t channel = first_channel(p, block);
    const int8_t *weights = p->weights + (size_t)channel * taps;
    int32_t *bias = (int32_t *)((char *)packed + block * block_bytes(p));
    float *scale = (float *)(bias + CHANNELS);
    for (int32_t c = 0; c < CHANNELS; c++) {
      int32_t sum = 0;
      for (int32_t tap = 0; tap < taps; tap++) sum += weights[(size_t)c * taps + tap];
      bias[c] = p->bias[channel + c] - p->in_zero * sum; /* the image holds codes as they are */
      scale[c] = p->scale[channel + c];
    }
    int16_t *to = write_weights(p, weights, 0, (int16_t *)(scale + CHANNELS));
    if (odd) write_weights(p, weights, 1, to);
  }
}

static size_t scratch_bytes(const struct tin_product *p) {
  const struct shape shape = shape_of(p);
  return sizeof(int16_t) * PIXEL * (size_t)shape.width * shape.pairs * TOGETHER;
}

static void write_zeros(int16_t *to, int32_t columns, __m256i zeros) {
  for (; columns > 0; columns--, to += PIXEL) _mm256_storeu_si256((__m256i *)to, zeros);
}

/* A row of the input, or zeros. */
struct source {
  const int8_t *codes;
  size_t step; /* from one pixel to the next */
};

/* Writes `columns` pixels of two rows beside each other: `count` blocks, `block` int16 apart. */
TIN_INLINE void write_inside(struct source one, struct source other, int32_t columns, int16_t *to,
                             size_t block, int count) {
  for (int32_t x = 0; x < columns; x++, to += PIXEL) {
    TIN_UNROLL for (int i = 0; i < count; i++) {
      const __m128i first = _mm_loadl_epi64((const __m128i *)(one.codes + i * CHANNELS));
      const __m128i second = _mm_loadl_epi64((const __m128i *)(other.codes + i * CHANNELS));
      _mm256_storeu_si256((__m256i *)(to + i * block),
                          _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(first, second)));
    }
    one.codes += one.step;
    other.codes += other.step;
  }
}

/* Writes rows `y` and `y + 1` of the input beside each other, with its padding. */
static void write_pair(const struct tin_product *p, const struct shape *shape, const int8_t *in,
                       int32_t y, int16_t *to, size_t block, int32_t count) {
  int8_t zero_codes[TOGETHER * CHANNELS];
  struct source rows[2];
  const __m256i zeros = _mm256_set1_epi16((int16_t)p->in_zero);
  const int32_t before = p->pad_left < shape->width ? p->pad_left : shape->width;
  const int32_t left = shape->width - before, inside = left < p->in_w ? left : p->in_w;
  memset(zero_codes, p->in_zero, sizeof zero_codes);
  for (int i = 0; i < 2; i++) {
    const int outside = y + i < 0 || y + i >= p->in_h;
    rows[i].codes = outside ? zero_codes : in + (size_t)(y + i) * p->in_w * p->in_c;
    rows[i].step = outside ? 0 : (size_t)p->in_c;
  }
  for (int32_t i = 0; i < count; i++) {
    write_zeros(to + i * block, before, zeros);
    write_zeros(to + i * block + (before + inside) * PIXEL, left - inside, zeros);
  }
  to += before * PIXEL;
  if (count == 4) write_inside(rows[0], rows[1], inside, to, block, 4);
  else if (count == 2) write_inside(rows[0], rows[1], inside, to, block, 2);
  else write_inside(rows[0], rows[1], inside, to, block, 1);
}

/* Adds the products of all taps to the sums of `count` windows, `step` columns apart. */
TIN_INLINE void sum_taps(const struct rows *rows, const int16_t *image, int32_t odd, __m256i *sums,
                         int count, int step) {
  const int16_t *weights = rows->weights[odd];
  TIN_UNROLL for (int i = 0; i < count; i++) sums[i] = load(rows->bias);
  for (int32_t pair = rows->pairs[odd]; pair > 0; pair--, image += rows->row) {
    const int16_t *column = image;
    for (int32_t tap = rows->taps; tap > 0; tap--, column += rows->tap, weights += PIXEL) {
      const __m256i weight = load(weights);
      TIN_UNROLL for (int i = 0; i < count; i++) {
        const __m256i products = _mm256_madd_epi16(load(column + i * step * PIXEL), weight);
        sums[i] = _mm256_add_epi32(sums[i], products);
        TIN_PIN(sums[i]);
      }
    }
  }
}

/* Writes the codes of up to four windows. */
TIN_INLINE void store_four(const struct rows *rows, const __m256i *sums, int count, int8_t *out) {
  const struct limits *const limits = &rows->limits;
  const size_t channels = rows->channels;
  __m256i steps[4];
  TIN_UNROLL for (int i = 0; i < 4; i++)
    steps[i] = i < count ? steps_of(sums[i], rows->scale, limits, 1) : steps[0];
  const __m256i first = _mm256_adds_epi16(_mm256_packs_epi32(steps[0], steps[1]), limits->zero);
  const __m256i second = _mm256_adds_epi16(_mm256_packs_epi32(steps[2], steps[3]), limits->zero);
  const __m256i codes = _mm256_max_epi8(_mm256_packs_epi16(first, second), limits->low);
  /* One window after the other. */
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i ordered = _mm256_permutevar8x32_epi32(codes, order);
  TIN_UNROLL for (int i = 0; i < count; i++) {
    const __m128i two =
        i < 2 ? _mm256_castsi256_si128(ordered) : _mm256_extracti128_si256(ordered, 1);
    int8_t *const to = out + i * channels;
    if (i % 2 == 0) _mm_storel_epi64((__m128i *)to, two);
    else _mm_storeh_pi((__m64 *)to, _mm_castsi128_ps(two));
  }
}

TIN_INLINE void tile(const struct rows *rows, const int16_t *image, int32_t odd, int8_t *out,
                     int count, int step) {
  __m256i sums[MOST_COLUMNS];
  sum_taps(rows, image, odd, sums, count, step);
  TIN_READ_AGAIN();
  store_four(rows, sums, 4, out);
  store_four(rows, sums + 4, count - 4, out + 4 * rows->channels);
}

/* The last tile of a row may begin within the one before it. */
TIN_INLINE void all_rows(const struct rows *rows, int count, int step) {
  for (int32_t y = 0; y < rows->count; y++) {
    const int32_t top = y * rows->stride_h, last = rows->width - count;
    const int16_t *image = rows->image + (ptrdiff_t)(top / 2) * rows->row;
    int8_t *out = rows->out + (size_t)y * rows->width * rows->channels;
    for (int32_t x = 0; x < rows->width; x += count) {
      const int32_t first = x < last ? x : last;
      tile(rows, image + first * step * PIXEL, top % 2, out + first * rows->channels, count,
           step);
    }
  }
}

#define TIN_ROWS(COUNT)                                                                          \
  static __attribute__((noinline)) void rows_##COUNT(const struct rows *rows) {                  \
    all_rows(rows, COUNT, 1);                                                                    \
  }                                                                                              \
  static __attribute__((noinline)) void every_second_##COUNT(const struct rows *rows) {          \
    all_rows(rows, COUNT, 2);                                                                    \
  }
TIN_ROWS(5)
TIN_ROWS(6)
TIN_ROWS(7)
TIN_ROWS(8)

static void (*const RUN_ROWS[2][MOST_COLUMNS - LEAST_COLUMNS + 1])(const struct rows *) = {
    {rows_5, rows_6, rows_7, rows_8},
    {every_second_5, every_second_6, every_second_7, every_second_8},
};

/* 8 channels of a band. */
static void run_block(const struct tin_product *p, const struct shape *shape, const char *packed,
                      int32_t block, const int16_t *image, int8_t *out, int32_t row,
                      int32_t count) {
  const int32_t *bias = (const int32_t *)(packed + block * block_bytes(p));
  const float *scale = (const float *)(bias + CHANNELS);
  const int16_t *weights = (const int16_t *)(scale + CHANNELS);
  const struct rows rows = {
      image, shape->width * PIXEL, count, p->out_w, p->stride_h, p->kernel_w,
      p->dilation_w * PIXEL, {(p->kernel_h + 1) / 2, p->kernel_h / 2 + 1}, bias,
      {weights, weights + weights_of(p, 0)}, scale,
      limits_of(p->out_zero, p->out_min, p->out_max), (size_t)p->in_c,
      out + (size_t)row * p->out_w * p->in_c + first_channel(p, block),
  };
  RUN_ROWS[p->stride_w - 1][tile_columns(p->out_w) - LEAST_COLUMNS](&rows);
}

static void run(const struct tin_product *p, const void *packed, const int8_t *in, int8_t *out,
                void *scratch, int32_t row_begin, int32_t row_end) {
  const struct shape shape = shape_of(p);
  const int32_t whole = p->in_c / CHANNELS, blocks = blocks_of(p);
  const size_t image_row = (size_t)shape.width * PIXEL, image_size = image_row * shape.pairs;
  int16_t *const image = scratch;
  for (int32_t row = row_begin; row < row_end; row += shape.rows) {
    const int32_t count = row_end - row < shape.rows ? row_end - row : shape.rows;
    const int32_t pairs = row_pairs(p, count), top = row * p->stride_h - p->pad_top;
    for (int32_t block = 0, together; block < blocks; block += together) {
      together = block + 4 <= whole ? 4 : block + 2 <= whole ? 2 : 1;
      for (int32_t pair = 0; pair < pairs; pair++)
        write_pair(p, &shape, in + first_channel(p, block), top + 2 * pair,
                   image + pair * image_row, image_size, together);
      for (int32_t i = 0; i < together; i++)
        run_block(p, &shape, packed, block + i, image + i * image_size, out, row, count);
    }
  }
}

const struct tin_kernel tin_avx2_row_pairs = {
    "avx2 row pairs", serves, packed_bytes, pack, scratch_bytes, run,
};

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
