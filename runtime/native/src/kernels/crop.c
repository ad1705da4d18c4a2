/* An image without rows and columns at its edges. */
#include "operators.h"

#include <string.h>

void tin_crop(const struct tin_window *w, const int8_t *in, int8_t *out) {
  const size_t row = (size_t)w->in_w * w->channels, out_row = (size_t)w->out_w * w->channels;
  for (int32_t y = 0; y < w->out_h; y++) {
    memcpy(out + y * out_row, in + (w->top + y) * row + (size_t)w->left * w->channels, out_row);
  }
}
