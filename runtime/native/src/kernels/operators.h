/* The operators besides the product: what they are given, and the functions that compute them.
 *
 * As in kernels.h, the loader has checked every size. Tensors are int8, the last dimension
 * contiguous.
 */
#ifndef TINSMITH_OPERATORS_H
#define TINSMITH_OPERATORS_H

#include "kernels.h"

#define TIN_RANK 6 /* Shapes have so many dimensions, the first ones 1 */

/* A sum, a product, the larger or the smaller of two tensors, place by place. Where one has size 1
 * and the other has not, its number is taken for every place: its step is 0. `out` may be the memory
 * of an input that has its shape. */
struct tin_pair {
  int32_t shape[TIN_RANK];
  int32_t one_step[TIN_RANK], other_step[TIN_RANK]; /* elements from one place to the next */
  int32_t one_zero, other_zero, out_zero;
  int32_t one_factor, other_factor, shift; /* of a sum: 0..2^21, 13..30 */
  float scale;                             /* of a product: 0 <= scale < 256 */
};
typedef void tin_pair_function(const struct tin_pair *pair, const int8_t *one, const int8_t *other,
                               int8_t *out);
tin_pair_function tin_add, tin_multiply, tin_maximum, tin_minimum;

/* out = table[in + 128]; `out` may be `in`. */
void tin_table(const int8_t *table, size_t count, const int8_t *in, int8_t *out);

/* What goes over an image: `out` is other memory than `in`. */
struct tin_window {
  int32_t in_h, in_w, out_h, out_w, channels; /* of the output */
  int32_t kernel_h, kernel_w, stride_h, stride_w;
  int32_t top, left; /* rows and columns of padding or cropping */
  int32_t value;     /* what padding is filled with */
};
typedef void tin_window_function(const struct tin_window *window, const int8_t *in, int8_t *out);
tin_window_function tin_max_pool;
void tin_pad(const struct tin_window *window, const int8_t *in, int8_t *out);
void tin_crop(const struct tin_window *window, const int8_t *in, int8_t *out);
void tin_upsample(const struct tin_window *window, const int8_t *in, int8_t *out);
void tin_depth_to_space(const struct tin_window *window, const int8_t *in, int8_t *out);

/* Copies one input, `count` codes at each of `places`, to where they begin in the output, which has
 * `out_count` at each. */
void tin_concatenate(size_t places, size_t count, size_t out_count, const int8_t *in,
                     int8_t *out);

/* Codes moved by loops, one in the other, the last the innermost: each goes round `counts` times, and
 * from one time to the next by `steps` codes of the input. The output is written from its first
 * code to its last; it is other memory than the input. Every code that is read lies in the input. */
#define TIN_LOOPS 5
struct tin_copy {
  int32_t counts[TIN_LOOPS], steps[TIN_LOOPS];
  uint32_t offset; /* of the first code in the input */
};
void tin_copy(const struct tin_copy *copy, const int8_t *in, int8_t *out);

/* At each of `places`, `count` of the `in_count` parts of the input, `width` codes each: which ones
 * `indices` says. The output is other memory than the input. */
struct tin_gather {
  size_t places, count, in_count, width;
  const uint32_t *indices; /* below in_count */
};
void tin_gather(const struct tin_gather *gather, const int8_t *in, int8_t *out);

/* For each of `places` numbers of two bytes, which lie in the input as pixels do, the lower first: a
 * row of the table, `width` codes; the last one for numbers beyond it. The output is other memory
 * than the input. */
struct tin_embedding {
  size_t places, width, rows; /* above 0 */
  const int8_t *table;
};
void tin_embedding(const struct tin_embedding *embedding, const int8_t *in, int8_t *out);

/* Normalization in float: of each of `times` parts of the input, `rows` places each, over the
 * `channels` of each of its `groups` at all these places. Without `centered` the mean is taken for
 * 0. `out` may be `in`. */
struct tin_norm {
  size_t times, rows, groups, channels; /* of a group; above 0 */
  int centered;
  int32_t in_zero, out_zero;
  float in_scale, out_scale; /* finite, above 0 */
  double epsilon;            /* finite, above 0 */
  const float *gamma, *beta; /* of each channel of all groups; finite */
};
void tin_normalize(const struct tin_norm *norm, const int8_t *in, int8_t *out);

/* The product of matrices, rows x inner and inner x columns, for each place of the dimensions before
 * these; an input that has size 1 there is taken for every place: its step is 0. `out` is other
 * memory than both. 255 * 255 * inner < 2^31: sums fit into int32. */
struct tin_matrix_product {
  int32_t shape[TIN_RANK - 2];
  int32_t one_step[TIN_RANK - 2], other_step[TIN_RANK - 2]; /* elements to the next place */
  int32_t rows, inner, columns;
  int32_t one_zero, other_zero, out_zero;
  float scale; /* 0 <= scale < 256 */
};
void tin_matrix_product(const struct tin_matrix_product *product, const int8_t *one,
                        const int8_t *other, int8_t *out);

/* Exponentials over their sum, along the last dimension, on integers: `table` has what is taken for
 * exp of a code that lies 0 to 255 below the largest, 2^23 at most, and that for 0. So a sum is
 * never 0, and with up to 2^20 channels 512 of them fit into uint64. */
struct tin_softmax {
  size_t places, channels;
  const uint32_t *table; /* 256 */
};
void tin_softmax(const struct tin_softmax *softmax, const int8_t *in, int8_t *out);

/* A product whose weights are float: sizes and what holds of them as in `tin_product`, whose
 * weights, bias and scale it does not use. */
struct tin_float_product {
  struct tin_product shape;
  float in_scale, out_scale;   /* finite, above 0 */
  const float *weights, *bias; /* as those of `tin_product`; finite */
};
void tin_float_product(const struct tin_float_product *product, const int8_t *in, int8_t *out);

/* What has versions for an instruction set, which are the same C. */
struct tin_operators {
  const char *name;
  tin_pair_function *add, *multiply, *maximum, *minimum;
  tin_window_function *max_pool;
};
const struct tin_operators *tin_operators_for(enum tin_isa isa);

#endif
