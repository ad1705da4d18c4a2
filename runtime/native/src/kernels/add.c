/* The sum of two tensors, with integer factors: rounded half up, before the zero point. */
#include "pairs.h"

TIN_INLINE_PLACE int8_t sum_of(const struct tin_pair *p, int8_t one, int8_t other) {
  const int32_t half = (int32_t)1 << (p->shift - 1);
  const int32_t least = -128 - p->out_zero, most = 127 - p->out_zero;
  /* Below 2 * 255 * 2^21 + 2^29, so within int32. A negative number is shifted downwards. */
  const int32_t sum =
      (one - p->one_zero) * p->one_factor + (other - p->other_zero) * p->other_factor + half;
  const int32_t steps = sum >> p->shift;
  return (int8_t)((steps < least ? least : steps > most ? most : steps) + p->out_zero);
}

_Static_assert(-3 >> 1 == -2, "tinsmith needs an arithmetic shift");

void tin_add(const struct tin_pair *pair, const int8_t *one, const int8_t *other, int8_t *out) {
  tin_each_place(pair, one, other, out, sum_of);
}
