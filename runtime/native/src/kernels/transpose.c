/* The same codes with the dimensions in another order. */
#include "operators.h"

void tin_transpose(const struct tin_transpose *t, const int8_t *in, int8_t *out) {
  const int last = TIN_RANK - 1;
  const int32_t count = t->shape[last], step = t->in_step[last];
  int32_t at[TIN_RANK] = {0};
  for (;;) {
    for (int32_t i = 0; i < count; i++) out[i] = in[(ptrdiff_t)i * step];
    out += count;
    int axis = last - 1;
    for (; axis >= 0; axis--) { /* like an odometer */
      in += t->in_step[axis];
      if (++at[axis] < t->shape[axis]) break;
      in -= (ptrdiff_t)t->in_step[axis] * t->shape[axis];
      at[axis] = 0;
    }
    if (axis < 0) return;
  }
}
