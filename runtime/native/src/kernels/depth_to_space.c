/* Channels become pixels, in blocks of kernel_h by kernel_h: input channel
 * (row in the block * block + column in the block) * channels + c. */
#include "operators.h"

#include <string.h>

void tin_depth_to_space(const struct tin_window *w, const int8_t *in, int8_t *out) {
  const int32_t block = w->kernel_h;
  const size_t channels = (size_t)w->channels;
  for (int32_t y = 0; y < w->out_h; y++) {
    for (int32_t x = 0; x < w->out_w; x++) {
      const size_t pixel = (size_t)(y / block) * w->in_w + x / block;
      const size_t part = (size_t)(y % block) * block + x % block;
      memcpy(out, in + (pixel * block * block + part) * channels, channels);
      out += channels;
    }
  }
}
