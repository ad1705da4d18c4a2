/* The product of two tensors, or of one and a constant. */
#include "pairs.h"
#include "rounding.h"

TIN_INLINE_PLACE int8_t product_of(const struct tin_pair *p, int8_t one, int8_t other) {
  const int32_t product = (one - p->one_zero) * (other - p->other_zero);
  return tin_requantize(product, p->scale, p->out_zero, -128, 127);
}

void tin_multiply(const struct tin_pair *pair, const int8_t *one, const int8_t *other,
                  int8_t *out) {
  tin_each_place(pair, one, other, out, product_of);
}
