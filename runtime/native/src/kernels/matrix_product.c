/* The product of the matrices of two computed tensors. */
#include "operators.h"
#include "rounding.h"

/* So many columns of a row are summed up at once. */
enum { BLOCK = 64 };

static void block_of(const struct tin_matrix_product *p, const int8_t *row, const int8_t *other,
                     int32_t count, int8_t *out) {
  int32_t sums[BLOCK] = {0};
  for (int32_t k = 0; k < p->inner; k++, other += p->columns) {
    const int32_t factor = row[k] - p->one_zero;
    for (int32_t i = 0; i < count; i++) sums[i] += factor * (other[i] - p->other_zero);
  }
  for (int32_t i = 0; i < count; i++) {
    out[i] = tin_requantize(sums[i], p->scale, p->out_zero, -128, 127);
  }
}

static void matrix_of(const struct tin_matrix_product *p, const int8_t *one, const int8_t *other,
                      int8_t *out) {
  for (int32_t row = 0; row < p->rows; row++, one += p->inner, out += p->columns) {
    for (int32_t first = 0; first < p->columns; first += BLOCK) {
      const int32_t rest = p->columns - first;
      block_of(p, one, other + first, rest < BLOCK ? rest : BLOCK, out + first);
    }
  }
}

void tin_matrix_product(const struct tin_matrix_product *p, const int8_t *one, const int8_t *other,
                        int8_t *out) {
  int32_t at[TIN_RANK - 2] = {0};
  for (;;) {
    matrix_of(p, one, other, out);
    out += (ptrdiff_t)p->rows * p->columns;
    int axis = TIN_RANK - 3;
    for (; axis >= 0; axis--) { /* like an odometer */
      one += p->one_step[axis];
      other += p->other_step[axis];
      if (++at[axis] < p->shape[axis]) break;
      one -= (ptrdiff_t)p->one_step[axis] * p->shape[axis];
      other -= (ptrdiff_t)p->other_step[axis] * p->shape[axis];
      at[axis] = 0;
    }
    if (axis < 0) return;
  }
}
