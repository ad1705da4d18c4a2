/* The image as the windows of a convolution see it: with its padding, in scratch memory.
 *
 * It has `height` rows of `width` pixels of in_c codes each, and begins where the first window
 * does. A pixel outside the input holds the zero point. Codes are stored with `flip` in exclusive
 * or: 0x80 makes codes 0..255 of -128..127. Every window lies inside, so a kernel needs no test at
 * the edges.
 */
#ifndef TINSMITH_IMAGE_H
#define TINSMITH_IMAGE_H

#include "kernels.h"

/* Bytes behind the image that vector loads may touch. They meet weights of 0 alone. */
#define TIN_IMAGE_SLACK 64

struct tin_image {
  int32_t height, width;
  size_t row_bytes;
};

static inline struct tin_image tin_image_of(const struct tin_product *p) {
  struct tin_image image;
  image.height = (p->out_h - 1) * p->stride_h + (p->kernel_h - 1) * p->dilation_h + 1;
  image.width = (p->out_w - 1) * p->stride_w + (p->kernel_w - 1) * p->dilation_w + 1;
  image.row_bytes = (size_t)image.width * p->in_c;
  return image;
}

/* A part of the image, so many rows that what was just written is still in the first caches. */
struct tin_rows {
  int32_t slots;          /* how many rows there is room for */
  int32_t first, written; /* rows of the image: the first one there, and the first one not yet */
};

/* How many rows of `row_bytes` a buffer should have for bands of `band` output rows. */
static inline int32_t tin_row_slots(const struct tin_product *p, int32_t band, size_t row_bytes) {
  enum { BUFFER_BYTES = 1 << 15 };
  const int64_t height = tin_image_of(p).height;
  const int64_t window = (band - 1) * (int64_t)p->stride_h + (p->kernel_h - 1) * p->dilation_h + 1;
  const int64_t slots = 2 * window + (int64_t)(BUFFER_BYTES / (row_bytes + 1));
  return (int32_t)(slots < height ? slots : height);
}

/* Makes room for the rows `begin` to `end`: those of them that are there stay, and move to the
 * beginning of the buffer where it would overflow. */
void tin_rows_make_room(struct tin_rows *rows, int32_t begin, int32_t end, void *buffer,
                        size_t row_bytes);

/* Writes one row of the image. */
void tin_image_row(const struct tin_product *product, const int8_t *in, uint8_t flip, int32_t row,
                   uint8_t *to);

#endif
