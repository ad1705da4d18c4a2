/* Goes over two tensors and an output, row by row. */
#ifndef TINSMITH_PAIRS_H
#define TINSMITH_PAIRS_H

#include <string.h>

#include "operators.h"

/* What is computed of two codes. */
typedef int8_t tin_place(const struct tin_pair *pair, int8_t one, int8_t other);

#define TIN_INLINE_PLACE static inline __attribute__((always_inline))

/* One row. `out` may be the memory of an input, so compilers make vectors of no loop that writes
 * there: blocks are written to memory that is nowhere else. */
TIN_INLINE_PLACE void tin_row(const struct tin_pair *p, const int8_t *one, const int8_t *other,
                              int8_t *out, tin_place *place) {
  enum { BLOCK = 32 };
  const int32_t count = p->shape[TIN_RANK - 1];
  const int32_t one_step = p->one_step[TIN_RANK - 1], other_step = p->other_step[TIN_RANK - 1];
  int32_t i = 0;
  if (one_step == 1 && other_step == 1) {
    for (; i + BLOCK <= count; i += BLOCK, one += BLOCK, other += BLOCK) {
      int8_t codes[BLOCK];
      for (int k = 0; k < BLOCK; k++) codes[k] = place(p, one[k], other[k]);
      memcpy(out + i, codes, BLOCK);
    }
  }
  for (; i < count; i++, one += one_step, other += other_step) out[i] = place(p, *one, *other);
}

/* Makes one row of those that follow one another in all tensors; sizes stay below 2^31. */
static inline void tin_merge_rows(struct tin_pair *p) {
  const int last = TIN_RANK - 1;
  if (p->shape[last] == 1) p->one_step[last] = p->other_step[last] = 1; /* there is no next */
  if (p->one_step[last] != 1 || p->other_step[last] != 1) return;
  for (int axis = last - 1; axis >= 0; axis--) {
    const int32_t row = p->shape[last];
    if (p->shape[axis] == 1) continue;
    if (p->one_step[axis] != row || p->other_step[axis] != row) return;
    p->shape[last] *= p->shape[axis];
    p->shape[axis] = 1;
  }
}

/* Computes all places. `place` is put in here, so that compilers see what they repeat. */
TIN_INLINE_PLACE void tin_each_place(const struct tin_pair *pair, const int8_t *one,
                                     const int8_t *other, int8_t *out, tin_place *place) {
  struct tin_pair p = *pair; /* what `out` cannot change */
  int32_t at[TIN_RANK] = {0};
  tin_merge_rows(&p);
  for (;;) {
    tin_row(&p, one, other, out, place);
    out += p.shape[TIN_RANK - 1];
    int axis = TIN_RANK - 2;
    for (; axis >= 0; axis--) { /* like an odometer */
      one += p.one_step[axis];
      other += p.other_step[axis];
      if (++at[axis] < p.shape[axis]) break;
      one -= (ptrdiff_t)p.one_step[axis] * p.shape[axis];
      other -= (ptrdiff_t)p.other_step[axis] * p.shape[axis];
      at[axis] = 0;
    }
    if (axis < 0) return;
  }
}

#endif
