/* The largest code of each window; a window outside of the image gives -128. */
#include "operators.h"

#include <string.h>

static void one_window(const struct tin_window *w, const int8_t *in, int32_t top, int32_t left,
                       int8_t *out) {
  memset(out, -128, (size_t)w->channels);
  for (int32_t y = top; y < top + w->kernel_h; y++) {
    for (int32_t x = left; x < left + w->kernel_w; x++) {
      if (y < 0 || y >= w->in_h || x < 0 || x >= w->in_w) continue;
      const int8_t *pixel = in + ((size_t)y * w->in_w + x) * w->channels;
      for (int32_t c = 0; c < w->channels; c++) {
        if (pixel[c] > out[c]) out[c] = pixel[c];
      }
    }
  }
}

void tin_max_pool(const struct tin_window *w, const int8_t *in, int8_t *out) {
  for (int32_t row = 0; row < w->out_h; row++) {
    for (int32_t column = 0; column < w->out_w; column++) {
      one_window(w, in, row * w->stride_h - w->top, column * w->stride_w - w->left, out);
      out += w->channels;
    }
  }
}
