/* Convolution, depthwise and dense with float weights, between two roundings: sums in double. */
#include "operators.h"
#include "rounding.h"

static double window_sum(const struct tin_float_product *f, const int8_t *in, int32_t top,
                         int32_t left, int32_t m) {
  const struct tin_product *p = &f->shape;
  const int32_t channels = p->in_c / p->groups;
  const int32_t first = m / (p->out_c / p->groups) * channels;
  const float *weight = f->weights + (size_t)m * p->kernel_h * p->kernel_w * channels;
  double sum = 0;
  for (int32_t kh = 0; kh < p->kernel_h; kh++) {
    const int32_t y = top + kh * p->dilation_h;
    for (int32_t kw = 0; kw < p->kernel_w; kw++, weight += channels) {
      const int32_t x = left + kw * p->dilation_w;
      if (y < 0 || y >= p->in_h || x < 0 || x >= p->in_w) continue;
      const int8_t *pixel = in + ((size_t)y * p->in_w + x) * p->in_c + first;
      for (int32_t c = 0; c < channels; c++) {
        const float real = (float)(pixel[c] - p->in_zero) * f->in_scale;
        sum += (double)real * weight[c];
      }
    }
  }
  return sum + f->bias[m];
}

void tin_float_product(const struct tin_float_product *f, const int8_t *in, int8_t *out) {
  const struct tin_product *p = &f->shape;
  for (int32_t row = 0; row < p->out_h; row++) {
    for (int32_t column = 0; column < p->out_w; column++) {
      const int32_t top = row * p->stride_h - p->pad_top;
      const int32_t left = column * p->stride_w - p->pad_left;
      for (int32_t m = 0; m < p->out_c; m++) {
        const float sum = (float)window_sum(f, in, top, left, m);
        *out++ = tin_round(sum / f->out_scale, p->out_zero, -128, 127);
      }
    }
  }
}
