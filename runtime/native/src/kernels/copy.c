/* Codes in another order. */
#include "operators.h"

#include <string.h>

/* The innermost loop. */
static void copy_row(ptrdiff_t count, ptrdiff_t step, const int8_t *in, int8_t *out) {
  if (step == 1) {
    memcpy(out, in, (size_t)count);
    return;
  }
  for (ptrdiff_t i = 0; i < count; i++) out[i] = in[i * step];
}

void tin_copy(const struct tin_copy *c, const int8_t *in, int8_t *out) {
  const int32_t *n = c->counts;
  const ptrdiff_t s0 = c->steps[0], s1 = c->steps[1], s2 = c->steps[2], s3 = c->steps[3];
  in += c->offset;
  for (int32_t i = 0; i < n[0]; i++) {
    for (int32_t j = 0; j < n[1]; j++) {
      for (int32_t k = 0; k < n[2]; k++) {
        for (int32_t l = 0; l < n[3]; l++) {
          copy_row(n[4], c->steps[4], in + i * s0 + j * s1 + k * s2 + l * s3, out);
          out += n[4];
        }
      }
    }
  }
}
