/* Goes over two tensors and an output, row by row. */
#ifndef TINSMITH_PAIRS_H
#define TINSMITH_PAIRS_H

#include "operators.h"

typedef void tin_row(const struct tin_pair *pair, const int8_t *one, const int8_t *other,
                     int8_t *out);

/* Calls `row` for each row of the last dimension, in order. */
static inline void tin_each_row(const struct tin_pair *p, const int8_t *one, const int8_t *other,
                                int8_t *out, tin_row *row) {
  int32_t place[TIN_RANK] = {0};
  for (;;) {
    row(p, one, other, out);
    out += p->shape[TIN_RANK - 1];
    int axis = TIN_RANK - 2;
    for (; axis >= 0; axis--) { /* like an odometer */
      one += p->one_step[axis];
      other += p->other_step[axis];
      if (++place[axis] < p->shape[axis]) break;
      one -= (ptrdiff_t)p->one_step[axis] * p->shape[axis];
      other -= (ptrdiff_t)p->other_step[axis] * p->shape[axis];
      place[axis] = 0;
    }
    if (axis < 0) return;
  }
}

#endif
