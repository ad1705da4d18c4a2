/* Lanes of depthwise convolution: their weights, their image, and where each vector lies. */
#include "depthwise.h"

#include <string.h>

enum { BAND_VECTORS = 32, MOST_IMAGE_BYTES = 1 << 26 };

struct shape {
  int32_t period;     /* vectors until the channels repeat */
  int32_t row_lanes;  /* of the output */
  int32_t vectors;    /* of an output row */
  int32_t taps;       /* of a window, a multiple of `paired` */
  int32_t phase;      /* int16 of the pixels x, x + stride_w, x + 2 * stride_w, ... of a row */
  int32_t image_row;  /* int16 */
  int32_t slots;      /* rows of the image that are in memory */
  size_t image_bytes; /* of these, with what loads may touch behind them */
};

static int32_t greatest_divisor(int32_t a, int32_t b) {
  while (b != 0) {
    const int32_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* Output rows in a band. */
static int32_t band_rows(const struct shape *shape) {
  const int32_t same = (shape->vectors - 1) / shape->period + 1;
  return (BAND_VECTORS - 1) / same + 1;
}

static struct shape shape_of(const struct tin_depthwise_form *form, const struct tin_product *p) {
  const struct tin_image image = tin_image_of(p);
  struct shape shape;
  shape.period = p->in_c / greatest_divisor(p->in_c, form->lanes);
  shape.row_lanes = p->out_w * p->in_c;
  shape.vectors = (shape.row_lanes + form->lanes - 1) / form->lanes;
  if (shape.period > shape.vectors) shape.period = shape.vectors;
  shape.taps = (p->kernel_h * p->kernel_w + form->paired - 1) / form->paired * form->paired;
  shape.phase = ((image.width - 1) / p->stride_w + 1) * p->in_c;
  shape.image_row = shape.phase * p->stride_w;
  const size_t row_bytes = sizeof(int16_t) * (size_t)shape.image_row;
  shape.slots = tin_row_slots(p, band_rows(&shape), row_bytes);
  shape.image_bytes = tin_aligned(shape.slots * row_bytes + TIN_IMAGE_SLACK);
  return shape;
}

int tin_depthwise_serves(const struct tin_product *p) {
  const struct tin_image image = tin_image_of(p);
  const int64_t width = (int64_t)image.width + p->stride_w; /* with the last pixel of each phase */
  if (p->groups != p->in_c || p->out_c != p->in_c) return 0;
  if (width * p->in_c > MOST_IMAGE_BYTES || p->kernel_h * (int64_t)p->kernel_w > 1 << 16) return 0;
  return 2 * width * p->in_c * image.height <= MOST_IMAGE_BYTES;
}

/* Packed: the offset of each tap, then for each vector of the period bias, scale and weights. */
static size_t offsets_bytes(const struct shape *shape) {
  return tin_aligned(sizeof(int32_t) * (size_t)shape->taps);
}

static size_t vector_bytes(const struct tin_depthwise_form *form, const struct shape *shape) {
  return tin_aligned((8 + 2 * (size_t)shape->taps) * form->lanes);
}

size_t tin_depthwise_bytes(const struct tin_depthwise_form *form, const struct tin_product *p) {
  const struct shape shape = shape_of(form, p);
  return offsets_bytes(&shape) + shape.period * vector_bytes(form, &shape);
}

static void write_vector(const struct tin_depthwise_form *form, const struct tin_product *p,
                         const struct shape *shape, int32_t vector, void *to) {
  const int32_t lanes = form->lanes, taps = p->kernel_h * p->kernel_w;
  int32_t *bias = to;
  float *scale = (float *)(bias + lanes);
  int16_t *weights = (int16_t *)(scale + lanes);
  for (int32_t slot = 0; slot < lanes; slot++) {
    const int32_t lane = form->swapped ? (slot & ~12) | (slot & 4) << 1 | (slot & 8) >> 1 : slot;
    const int32_t channel = (int32_t)(((int64_t)vector * lanes + lane) % p->in_c);
    bias[slot] = p->bias[channel];
    scale[slot] = p->scale[channel];
    for (int32_t tap = 0; tap < shape->taps; tap++) {
      const int32_t pair = tap / form->paired, half = tap % form->paired;
      const size_t weight = (size_t)channel * taps + tap;
      weights[(pair * lanes + slot) * form->paired + half] = tap < taps ? p->weights[weight] : 0;
    }
  }
}

void tin_depthwise_pack(const struct tin_depthwise_form *form, const struct tin_product *p,
                        void *packed) {
  const struct shape shape = shape_of(form, p);
  int32_t *offsets = packed;
  for (int32_t tap = 0; tap < shape.taps; tap++) {
    const int32_t real = tap < p->kernel_h * p->kernel_w ? tap : 0;
    const int32_t y = real / p->kernel_w * p->dilation_h, x = real % p->kernel_w * p->dilation_w;
    offsets[tap] =
        y * shape.image_row + x % p->stride_w * shape.phase + x / p->stride_w * p->in_c;
  }
  for (int32_t vector = 0; vector < shape.period; vector++)
    write_vector(form, p, &shape, vector,
                 (char *)packed + offsets_bytes(&shape) + vector * vector_bytes(form, &shape));
}

size_t tin_depthwise_scratch(const struct tin_depthwise_form *form, const struct tin_product *p) {
  const struct shape shape = shape_of(form, p);
  const size_t same = (size_t)(shape.vectors - 1) / shape.period + 1;
  return shape.image_bytes +
         sizeof(struct tin_place) * (band_rows(&shape) * same + TIN_BAND_SPARE);
}

/* The first x >= pad_left of a phase, of which there are pixels x, x + stride, ... */
static int32_t first_of_phase(const struct tin_product *p, int32_t phase) {
  const int32_t behind = p->pad_left % p->stride_w;
  return p->pad_left - behind + phase + (phase < behind ? p->stride_w : 0);
}

/* Writes the pixels of one phase of row `y` of the input, with zeros before and behind. */
static void write_phase(const struct tin_depthwise *isa, const struct tin_product *p,
                        const struct shape *shape, const int8_t *in, int32_t y, int32_t phase,
                        int16_t *to) {
  const int32_t channels = p->in_c, stride = p->stride_w;
  const int32_t width = shape->phase / channels * stride - p->pad_left; /* behind the padding */
  const int32_t inside = width < p->in_w ? width : p->in_w;
  const int32_t x = first_of_phase(p, phase), first = x - p->pad_left;
  if (y < 0 || y >= p->in_h || first >= inside) {
    memset(to, 0, sizeof(int16_t) * (size_t)shape->phase);
    return;
  }
  const int32_t count = (inside - first - 1) / stride + 1;
  const size_t before = (size_t)(x / stride) * channels, written = (size_t)count * channels;
  const int8_t *from = in + ((size_t)y * p->in_w + first) * channels;
  memset(to, 0, sizeof(int16_t) * before);
  if (stride == 1) /* a row of pixels is one long pixel */
    isa->write_pixels(to + before, from, 1, count * channels, 0, (int16_t)p->in_zero);
  else
    isa->write_pixels(to + before, from, count, channels, (size_t)stride * channels,
                      (int16_t)p->in_zero);
  memset(to + before + written, 0, sizeof(int16_t) * (shape->phase - before - written));
}

/* Writes one row of the image, phase by phase. */
static void write_row(const struct tin_depthwise *isa, const struct tin_product *p,
                      const struct shape *shape, const int8_t *in, int32_t row, int16_t *to) {
  for (int32_t phase = 0; phase < p->stride_w; phase++, to += shape->phase)
    write_phase(isa, p, shape, in, row - p->pad_top, phase, to);
}

/* The places of all vectors `first`, `first` + period, ... of a band's rows, whose windows begin
 * `image_row` rows behind the first one that is there. */
static int32_t find_places(const struct tin_depthwise_form *form, const struct tin_product *p,
                           const struct shape *shape, int32_t image_row, int32_t rows,
                           int32_t first, struct tin_place *places) {
  int32_t count = 0;
  for (int32_t y = 0; y < rows; y++) {
    const int32_t image = (image_row + y * p->stride_h) * shape->image_row;
    for (int32_t vector = first; vector < shape->vectors; vector += shape->period) {
      const int32_t lane = vector * form->lanes;
      places[count++] = (struct tin_place){image + lane, y * shape->row_lanes + lane,
                                           shape->row_lanes - lane};
    }
  }
  for (int i = 0; i < TIN_BAND_SPARE; i++) places[count + i] = places[count - 1];
  return count;
}

void tin_depthwise_run(const struct tin_depthwise *isa, const struct tin_product *p,
                       const void *packed, const int8_t *in, int8_t *out, void *scratch,
                       int32_t row_begin, int32_t row_end) {
  const struct shape shape = shape_of(&isa->form, p);
  int16_t *const codes = scratch;
  struct tin_place *const places = (struct tin_place *)((char *)scratch + shape.image_bytes);
  const int32_t most = band_rows(&shape), reach = (p->kernel_h - 1) * p->dilation_h + 1;
  const int32_t begin = row_begin * p->stride_h;
  const size_t row_size = (size_t)shape.image_row;
  struct tin_rows image = {shape.slots, begin, begin};
  for (int32_t row = row_begin; row < row_end; row += most) {
    const int32_t rows = row_end - row < most ? row_end - row : most, top = row * p->stride_h;
    const int32_t end = top + (rows - 1) * p->stride_h + reach;
    tin_rows_make_room(&image, top, end, codes, sizeof(int16_t) * row_size);
    for (; image.written < end; image.written++)
      write_row(isa, p, &shape, in, image.written,
                codes + (size_t)(image.written - image.first) * row_size);
    const char *vector = (const char *)packed + offsets_bytes(&shape);
    for (int32_t i = 0; i < shape.period; i++, vector += vector_bytes(&isa->form, &shape)) {
      const int32_t *bias = (const int32_t *)vector;
      const float *scale = (const float *)(bias + isa->form.lanes);
      const struct tin_lanes lanes = {
          codes, places, find_places(&isa->form, p, &shape, top - image.first, rows, i,
                                     places), shape.taps,
          packed, bias, scale, (const int16_t *)(scale + isa->form.lanes), p->out_zero, p->out_min,
          p->out_max, out + (size_t)row * shape.row_lanes,
      };
      isa->run_lanes(&lanes);
    }
  }
}
