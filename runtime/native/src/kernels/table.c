/* A function of each code by itself. */
#include "operators.h"

void tin_table(const int8_t *table, size_t count, const int8_t *in, int8_t *out) {
  for (size_t i = 0; i < count; i++) out[i] = table[in[i] + 128];
}
