/* Depthwise convolution, as far as it is the same for all vector instruction sets.
 *
 * A channel reads itself alone, so a row of output pixels is one long row of lanes, channel after
 * channel and pixel after pixel, and vectors go over it without a look at where a pixel ends. With
 * 8 channels a vector of 16 lanes holds two pixels, with 24 channels one and a half. Which channels
 * a vector holds repeats every `period` vectors; weights are packed once for each of these.
 *
 * Input pixels of a tap must then lie beside each other too. With a stride of 2 they do not, so a
 * row of the image is written as all even pixels, then all odd ones; with another stride likewise.
 * The image holds int16, less the zero point.
 */
#ifndef TINSMITH_DEPTHWISE_H
#define TINSMITH_DEPTHWISE_H

#include "convolution.h"

/* What an instruction set wants. */
struct tin_depthwise_form {
  int32_t lanes;   /* of a vector of int16 */
  int32_t paired;  /* 2: weights of two taps beside each other in each lane; else 1 */
  int32_t swapped; /* as in steps.h */
};

/* Where a vector of output lanes lies. */
struct tin_place {
  int32_t image; /* of its first lane's first tap, in int16 */
  int32_t out;   /* in the band */
  int32_t left;  /* lanes from here to the end of the row */
};

/* The vectors of a band that hold the same channels. */
struct tin_lanes {
  const int16_t *image;
  const struct tin_place *places; /* TIN_BAND_SPARE as in convolution.h */
  int32_t count;
  int32_t taps;           /* a multiple of `paired` */
  const int32_t *offsets; /* of each tap in the image, in int16 */
  const int32_t *bias;    /* each of `lanes` lanes, in the form's order */
  const float *scale;
  const int16_t *weights; /* (taps / paired, lanes, paired) */
  int32_t zero, low, high;
  int8_t *out;
};

struct tin_depthwise {
  struct tin_depthwise_form form;
  /* Writes `count` pixels of `channels` codes, less `zero`. They lie `step` codes apart, and beside
   * each other in `to`. */
  void (*write_pixels)(int16_t *to, const int8_t *from, int32_t count, int32_t channels,
                       size_t step, int16_t zero);
  void (*run_lanes)(const struct tin_lanes *lanes);
};

int tin_depthwise_serves(const struct tin_product *product);
size_t tin_depthwise_bytes(const struct tin_depthwise_form *form,
                           const struct tin_product *product);
void tin_depthwise_pack(const struct tin_depthwise_form *form, const struct tin_product *product,
                        void *packed);
size_t tin_depthwise_scratch(const struct tin_depthwise_form *form,
                             const struct tin_product *product);
void tin_depthwise_run(const struct tin_depthwise *isa, const struct tin_product *product,
                       const void *packed, const int8_t *in, int8_t *out, void *scratch,
                       int32_t row_begin, int32_t row_end);

/* The functions of a `struct tin_kernel` for a `struct tin_depthwise`. */
#define TIN_DEPTHWISE_KERNEL(KERNEL, NAME, ISA)                                                  \
  static size_t packed_bytes(const struct tin_product *product) {                                \
    return tin_depthwise_bytes(&(ISA).form, product);                                            \
  }                                                                                              \
  static void pack(const struct tin_product *product, void *packed) {                            \
    tin_depthwise_pack(&(ISA).form, product, packed);                                            \
  }                                                                                              \
  static size_t scratch_bytes(const struct tin_product *product) {                               \
    return tin_depthwise_scratch(&(ISA).form, product);                                          \
  }                                                                                              \
  static void run(const struct tin_product *product, const void *packed, const int8_t *in,       \
                  int8_t *out, void *scratch, int32_t row_begin, int32_t row_end) {              \
    tin_depthwise_run(&(ISA), product, packed, in, out, scratch, row_begin, row_end);            \
  }                                                                                              \
  const struct tin_kernel KERNEL = {                                                             \
      NAME, tin_depthwise_serves, packed_bytes, pack, scratch_bytes, run,                        \
  }

#endif
