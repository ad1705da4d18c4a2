/* Convolution and dense, as far as it is the same for all vector instruction sets.
 *
 * Output rows are taken in bands of a few dozen pixels. The rows of the image that a band needs are
 * written just before they are read; then each tile of channels goes over the pixels of the band,
 * with its weights in the first cache. Pixels of a band are numbered through, over the ends of
 * rows, so that small images fill the vectors too.
 */
#ifndef TINSMITH_CONVOLUTION_H
#define TINSMITH_CONVOLUTION_H

#include "image.h"
#include "steps.h"

/* The pixels of a band, for one tile of channels. */
struct tin_band {
  const uint8_t *image;
  const int32_t *windows; /* place of each pixel's window, in bytes; see TIN_BAND_SPARE */
  int32_t pixels;
  int32_t out_c;
  int32_t zero, low, high; /* out_zero, out_min, out_max */
  int8_t *out;             /* of the first pixel, all its channels */
};

/* So many entries behind the last repeat it: a tile may compute them, but does not store them. */
#define TIN_BAND_SPARE 16

struct tin_convolution {
  struct tin_step_form form;
  void (*run_tile)(const struct tin_tile *tile, const struct tin_band *band);
  /* Writes codes as int16; of forms whose image holds these. */
  void (*widen)(int16_t *to, const uint8_t *codes, size_t count);
};

int tin_convolution_serves(const struct tin_product *product);
size_t tin_convolution_scratch(const struct tin_step_form *form, const struct tin_product *product);
void tin_convolution_run(const struct tin_convolution *isa, const struct tin_product *product,
                         const void *packed, const int8_t *in, int8_t *out, void *scratch,
                         int32_t row_begin, int32_t row_end);

/* The functions of a `struct tin_kernel` for a `struct tin_convolution`. */
#define TIN_CONVOLUTION_KERNEL(KERNEL, NAME, ISA)                                                \
  TIN_CHOSEN_CONVOLUTION_KERNEL(KERNEL, NAME, ISA, tin_convolution_serves)

/* The same with a `serves` of its own. */
#define TIN_CHOSEN_CONVOLUTION_KERNEL(KERNEL, NAME, ISA, SERVES)                                 \
  static size_t packed_bytes(const struct tin_product *product) {                                \
    return tin_steps_bytes(&(ISA).form, product);                                                \
  }                                                                                              \
  static void pack(const struct tin_product *product, void *packed) {                            \
    tin_steps_pack(&(ISA).form, product, packed);                                                \
  }                                                                                              \
  static size_t scratch_bytes(const struct tin_product *product) {                               \
    return tin_convolution_scratch(&(ISA).form, product);                                        \
  }                                                                                              \
  static void run(const struct tin_product *product, const void *packed, const int8_t *in,       \
                  int8_t *out, void *scratch, int32_t row_begin, int32_t row_end) {              \
    tin_convolution_run(&(ISA), product, packed, in, out, scratch, row_begin, row_end);          \
  }                                                                                              \
  const struct tin_kernel KERNEL = {                                                             \
      NAME, SERVES, packed_bytes, pack, scratch_bytes, run,                                      \
  }

#endif
