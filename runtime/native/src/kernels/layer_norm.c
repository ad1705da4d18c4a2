/* Layer normalization, in float between two roundings. */
#include "operators.h"
#include "rounding.h"

#include <math.h>

/* What a code stands for, rounded to float32. */
static double real(const struct tin_norm *n, int8_t code) {
  return (float)(code - n->in_zero) * n->in_scale;
}

void tin_layer_norm(const struct tin_norm *n, const int8_t *in, int8_t *out) {
  const double count = (double)n->channels;
  for (size_t place = 0; place < n->places; place++, in += n->channels, out += n->channels) {
    double sum = 0, squares = 0;
    for (size_t c = 0; c < n->channels; c++) sum += real(n, in[c]);
    const double mean = sum / count;
    for (size_t c = 0; c < n->channels; c++) {
      const double centered = real(n, in[c]) - mean;
      squares += centered * centered;
    }
    const double deviation = sqrt(squares / count + n->epsilon);
    for (size_t c = 0; c < n->channels; c++) {
      const double normal = (real(n, in[c]) - mean) / deviation * n->gamma[c] + n->beta[c];
      out[c] = tin_round((float)normal / n->out_scale, n->out_zero, -128, 127);
    }
  }
}
