/* The smaller of two tensors, whose codes mean the same. */
#include "pairs.h"

TIN_INLINE_PLACE int8_t smaller_of(const struct tin_pair *p, int8_t one, int8_t other) {
  (void)p;
  return one < other ? one : other;
}

void tin_minimum(const struct tin_pair *pair, const int8_t *one, const int8_t *other, int8_t *out) {
  tin_each_place(pair, one, other, out, smaller_of);
}
