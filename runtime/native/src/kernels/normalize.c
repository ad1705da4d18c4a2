/* Normalization, in float between two roundings. */
#include "operators.h"
#include "rounding.h"

#include <math.h>

/* What a code stands for, rounded to float32. */
static double real(const struct tin_norm *n, int8_t code) {
  return (float)(code - n->in_zero) * n->in_scale;
}

/* The sum over a group of what the codes stand for less the mean, or of the squares of that. */
static double sum(const struct tin_norm *n, const int8_t *in, double mean, int squared) {
  const size_t step = n->groups * n->channels;
  double total = 0;
  for (size_t row = 0; row < n->rows; row++, in += step) {
    for (size_t c = 0; c < n->channels; c++) {
      const double centered = real(n, in[c]) - mean;
      total += squared ? centered * centered : centered;
    }
  }
  return total;
}

/* `in` and `out` begin at the group's first channel. */
static void normalize_group(const struct tin_norm *n, size_t group, const int8_t *in, int8_t *out) {
  const double count = (double)n->rows * (double)n->channels;
  const size_t step = n->groups * n->channels;
  const float *gamma = n->gamma + group * n->channels, *beta = n->beta + group * n->channels;
  const double mean = n->centered ? sum(n, in, 0, 0) / count : 0;
  const double deviation = sqrt(sum(n, in, mean, 1) / count + n->epsilon);
  for (size_t row = 0; row < n->rows; row++, in += step, out += step) {
    for (size_t c = 0; c < n->channels; c++) {
      const double normal = (real(n, in[c]) - mean) / deviation * gamma[c] + beta[c];
      out[c] = tin_round((float)normal / n->out_scale, n->out_zero, -128, 127);
    }
  }
}

void tin_normalize(const struct tin_norm *n, const int8_t *in, int8_t *out) {
  for (size_t time = 0; time < n->times; time++) {
    const size_t start = time * n->rows * n->groups * n->channels;
    for (size_t group = 0; group < n->groups; group++) {
      const size_t first = start + group * n->channels;
      normalize_group(n, group, in + first, out + first);
    }
  }
}
