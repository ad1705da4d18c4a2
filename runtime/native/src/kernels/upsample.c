/* Each pixel repeated, kernel_h times in rows and kernel_w in columns. */
#include "operators.h"

#include <string.h>

void tin_upsample(const struct tin_window *w, const int8_t *in, int8_t *out) {
  const size_t channels = (size_t)w->channels;
  for (int32_t y = 0; y < w->out_h; y++) {
    const int8_t *row = in + (size_t)(y / w->kernel_h) * w->in_w * channels;
    for (int32_t x = 0; x < w->out_w; x++) {
      memcpy(out, row + (size_t)(x / w->kernel_w) * channels, channels);
      out += channels;
    }
  }
}
