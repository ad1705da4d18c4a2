/* The product of two tensors, or of one and a constant. */
#include "pairs.h"
#include "rounding.h"

static void row(const struct tin_pair *p, const int8_t *one, const int8_t *other, int8_t *out) {
  for (int32_t i = 0; i < p->shape[TIN_RANK - 1]; i++) {
    const int32_t product = (*one - p->one_zero) * (*other - p->other_zero);
    out[i] = tin_requantize(product, p->scale, p->out_zero, -128, 127);
    one += p->one_step[TIN_RANK - 1];
    other += p->other_step[TIN_RANK - 1];
  }
}

void tin_multiply(const struct tin_pair *pair, const int8_t *one, const int8_t *other,
                  int8_t *out) {
  tin_each_row(pair, one, other, out, row);
}
