/* Places of one dimension, in any order. */
#include "operators.h"

#include <string.h>

void tin_gather(const struct tin_gather *g, const int8_t *in, int8_t *out) {
  for (size_t i = 0; i < g->places; i++) {
    for (size_t n = 0; n < g->count; n++) {
      memcpy(out, in + g->indices[n] * g->width, g->width);
      out += g->width;
    }
    in += g->in_count * g->width;
  }
}
