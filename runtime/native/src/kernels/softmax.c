/* Softmax on integers: halves are rounded up, and 1 is code 127. */
#include "operators.h"

static void row_of(const struct tin_softmax *s, const int8_t *in, int8_t *out) {
  int8_t largest = in[0];
  uint64_t sum = 0;
  for (size_t c = 1; c < s->channels; c++) largest = in[c] > largest ? in[c] : largest;
  for (size_t c = 0; c < s->channels; c++) sum += s->table[largest - in[c]];
  for (size_t c = 0; c < s->channels; c++) {
    const uint64_t part = s->table[largest - in[c]];
    const uint64_t code = (512 * part + sum) / (2 * sum);
    out[c] = (int8_t)((code > 255 ? 255 : (int32_t)code) - 128);
  }
}

void tin_softmax(const struct tin_softmax *s, const int8_t *in, int8_t *out) {
  for (size_t place = 0; place < s->places; place++, in += s->channels, out += s->channels) {
    row_of(s, in, out);
  }
}
