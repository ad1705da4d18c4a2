/* Convolution, depthwise and dense, as they are defined. */
#include "kernels.h"
#include "rounding.h"

static int serves(const struct tin_product *product) {
  (void)product;
  return 1;
}

static size_t no_bytes(const struct tin_product *product) {
  (void)product;
  return 0;
}

static void pack(const struct tin_product *product, void *packed) {
  (void)product;
  (void)packed;
}

/* The sum for output channel `m` of the window whose first pixel is at `top` and `left`. */
static int32_t window_sum(const struct tin_product *p, const int8_t *in, int32_t top, int32_t left,
                          int32_t m) {
  const int32_t channels = p->in_c / p->groups;
  const int32_t first = m / (p->out_c / p->groups) * channels;
  const int8_t *weight = p->weights + (size_t)m * p->kernel_h * p->kernel_w * channels;
  int32_t sum = p->bias[m];
  for (int32_t kh = 0; kh < p->kernel_h; kh++) {
    const int32_t y = top + kh * p->dilation_h;
    for (int32_t kw = 0; kw < p->kernel_w; kw++, weight += channels) {
      const int32_t x = left + kw * p->dilation_w;
      if (y < 0 || y >= p->in_h || x < 0 || x >= p->in_w) continue;
      const int8_t *pixel = in + ((size_t)y * p->in_w + x) * p->in_c + first;
      for (int32_t c = 0; c < channels; c++) sum += (pixel[c] - p->in_zero) * weight[c];
    }
  }
  return sum;
}

static void run(const struct tin_product *p, const void *packed, const int8_t *in, int8_t *out,
                void *scratch, int32_t row_begin, int32_t row_end) {
  (void)packed;
  (void)scratch;
  out += (size_t)row_begin * p->out_w * p->out_c;
  for (int32_t row = row_begin; row < row_end; row++) {
    const int32_t top = row * p->stride_h - p->pad_top;
    for (int32_t column = 0; column < p->out_w; column++) {
      const int32_t left = column * p->stride_w - p->pad_left;
      for (int32_t m = 0; m < p->out_c; m++) {
        const int32_t sum = window_sum(p, in, top, left, m);
        *out++ = tin_requantize(sum, p->scale[m], p->out_zero, p->out_min, p->out_max);
      }
    }
  }
}

const struct tin_kernel tin_product_portable = {
    "portable", serves, no_bytes, pack, no_bytes, run,
};
