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

/* Writes one row of the image. */
void tin_image_row(const struct tin_product *product, const int8_t *in, uint8_t flip, int32_t row,
                   uint8_t *to);

#endif
