/* The sum of two tensors, with integer factors: rounded half up, before the zero point. */
#include "pairs.h"

static void row(const struct tin_pair *p, const int8_t *one, const int8_t *other, int8_t *out) {
  const int32_t half = (int32_t)1 << (p->shift - 1);
  const int32_t least = -128 - p->out_zero, most = 127 - p->out_zero;
  for (int32_t i = 0; i < p->shape[TIN_RANK - 1]; i++) {
    /* Below 2 * 255 * 2^21 + 2^29, so within int32. A negative number is shifted downwards. */
    const int32_t sum = (*one - p->one_zero) * p->one_factor +
                        (*other - p->other_zero) * p->other_factor + half;
    const int32_t steps = sum >> p->shift;
    out[i] = (int8_t)((steps < least ? least : steps > most ? most : steps) + p->out_zero);
    one += p->one_step[TIN_RANK - 1];
    other += p->other_step[TIN_RANK - 1];
  }
}

_Static_assert(-3 >> 1 == -2, "tinsmith needs an arithmetic shift");

void tin_add(const struct tin_pair *pair, const int8_t *one, const int8_t *other, int8_t *out) {
  tin_each_row(pair, one, other, out, row);
}
