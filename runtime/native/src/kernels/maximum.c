/* The larger of two tensors, whose codes mean the same. */
#include "pairs.h"

static void row(const struct tin_pair *p, const int8_t *one, const int8_t *other, int8_t *out) {
  for (int32_t i = 0; i < p->shape[TIN_RANK - 1]; i++) {
    out[i] = *one > *other ? *one : *other;
    one += p->one_step[TIN_RANK - 1];
    other += p->other_step[TIN_RANK - 1];
  }
}

void tin_maximum(const struct tin_pair *pair, const int8_t *one, const int8_t *other, int8_t *out) {
  tin_each_row(pair, one, other, out, row);
}
