/* Sums become codes: eight or sixteen channels of a few pixels at once.
 *
 * What is done to each sum is tin_requantize (rounding.h). The float is only clamped from above:
 * what is far below becomes -2^31, and the saturating steps that follow take it to the least code.
 */
#ifndef TINSMITH_AVX2_REQUANTIZE_H
#define TINSMITH_AVX2_REQUANTIZE_H

#include "vectors.h"

/* What an output tensor asks for, spread over vectors. */
struct limits {
  __m256 most; /* out_max - out_zero */
  __m256i zero; /* int16 */
  __m256i low;  /* int8 */
};

TIN_INLINE struct limits limits_of(int32_t zero, int32_t low, int32_t high) {
  return (struct limits){_mm256_set1_ps((float)(high - zero)), _mm256_set1_epi16((int16_t)zero),
                         _mm256_set1_epi8((int8_t)low)};
}

/* Eight sums, as whole steps away from the zero point. */
TIN_INLINE __m256i steps_of(__m256i sums, const float *scale, const struct limits *limits) {
  const __m256 steps = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(scale));
  return _mm256_cvtps_epi32(_mm256_min_ps(steps, limits->most));
}

/* Sixteen channels of a pixel, int16. `one` holds channels 0..3 and 8..11, `other` 4..7 and 12..15:
 * packing by halves of vectors then gives them in order. */
TIN_INLINE __m256i sixteen(__m256i one, __m256i other, const float *scale,
                           const struct limits *limits) {
  const __m256i steps = _mm256_packs_epi32(steps_of(one, scale, limits),
                                           steps_of(other, scale + 8, limits));
  return _mm256_adds_epi16(steps, limits->zero);
}

/* Sixteen channels of two pixels, int8: the first one's are the lower half. */
TIN_INLINE __m256i codes_of(__m256i first, __m256i second, const struct limits *limits) {
  const __m256i codes = _mm256_max_epi8(_mm256_packs_epi16(first, second), limits->low);
  return _mm256_permute4x64_epi64(codes, 0xd8);
}

#endif
