/* The largest code of each window; a window outside of the image gives -128. */
#include "operators.h"

#include <string.h>

struct range {
  int32_t begin, end;
};

/* What lies inside of an image of `size`. */
static struct range inside(int32_t first, int32_t count, int32_t size) {
  const struct range range = {first < 0 ? 0 : first, first + count < size ? first + count : size};
  return range;
}

/* `count` channels of a window, at most 32. */
static inline __attribute__((always_inline)) void some_channels(
    const struct tin_window *w, const int8_t *in, struct range rows, struct range columns,
    int32_t count, int8_t *out) {
  int8_t most[32]; /* nowhere else in memory, so that compilers make vectors of it */
  memset(most, -128, (size_t)count);
  for (int32_t y = rows.begin; y < rows.end; y++) {
    const int8_t *pixel = in + ((size_t)y * w->in_w + columns.begin) * w->channels;
    for (int32_t x = columns.begin; x < columns.end; x++, pixel += w->channels)
      for (int32_t c = 0; c < count; c++) most[c] = pixel[c] > most[c] ? pixel[c] : most[c];
  }
  memcpy(out, most, (size_t)count);
}

static void one_window(const struct tin_window *w, const int8_t *in, struct range rows,
                       struct range columns, int8_t *out) {
  int32_t c = 0;
  for (; c + 32 <= w->channels; c += 32) some_channels(w, in + c, rows, columns, 32, out + c);
  for (; c + 16 <= w->channels; c += 16) some_channels(w, in + c, rows, columns, 16, out + c);
  for (; c + 8 <= w->channels; c += 8) some_channels(w, in + c, rows, columns, 8, out + c);
  for (; c < w->channels; c++) some_channels(w, in + c, rows, columns, 1, out + c);
}

void tin_max_pool(const struct tin_window *w, const int8_t *in, int8_t *out) {
  for (int32_t row = 0; row < w->out_h; row++) {
    const struct range rows = inside(row * w->stride_h - w->top, w->kernel_h, w->in_h);
    for (int32_t column = 0; column < w->out_w; column++, out += w->channels) {
      const int32_t left = column * w->stride_w - w->left;
      one_window(w, in, rows, inside(left, w->kernel_w, w->in_w), out);
    }
  }
}
