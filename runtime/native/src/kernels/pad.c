/* Rows and columns of zeros around an image. */
#include "operators.h"

#include <string.h>

void tin_pad(const struct tin_window *w, const int8_t *in, int8_t *out) {
  const size_t row = (size_t)w->in_w * w->channels, out_row = (size_t)w->out_w * w->channels;
  memset(out, w->value, w->out_h * out_row);
  for (int32_t y = 0; y < w->in_h; y++) {
    memcpy(out + (w->top + y) * out_row + (size_t)w->left * w->channels, in + y * row, row);
  }
}
