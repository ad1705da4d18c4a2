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
  __m256i low, high; /* int8 */
};

TIN_INLINE struct limits limits_of(int32_t zero, int32_t low, int32_t high) {
  return (struct limits){_mm256_set1_ps((float)(high - zero)), _mm256_set1_epi16((int16_t)zero),
                         _mm256_set1_epi8((int8_t)low), _mm256_set1_epi8((int8_t)high)};
}

/* Eight sums, as whole steps away from the zero point. Without `far` none is 2^31 steps away, and the
 * codes can be clamped in place of the floats: four vectors of these become one of codes. */
TIN_INLINE __m256i steps_of(__m256i sums, const float *scale, const struct limits *limits, int far) {
  const __m256 steps = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(scale));
  return _mm256_cvtps_epi32(far ? _mm256_min_ps(steps, limits->most) : steps);
}

/* Sixteen sums, int16: those of `one` and `other` by halves of four. */
TIN_INLINE __m256i halves_of(__m256i one, const float *scale, __m256i other,
                             const float *other_scale, const struct limits *limits, int far) {
  const __m256i steps = _mm256_packs_epi32(steps_of(one, scale, limits, far),
                                           steps_of(other, other_scale, limits, far));
  return _mm256_adds_epi16(steps, limits->zero);
}

/* Sixteen channels of a pixel, int16. `one` holds channels 0..3 and 8..11, `other` 4..7 and 12..15:
 * packing by halves of vectors then gives them in order. */
TIN_INLINE __m256i sixteen(__m256i one, __m256i other, const float *scale,
                           const struct limits *limits) {
  return halves_of(one, scale, other, scale + 8, limits, 1);
}

/* Sixteen channels of two pixels, int8: the first one's are the lower half. */
TIN_INLINE __m256i codes_of(__m256i first, __m256i second, const struct limits *limits) {
  const __m256i codes = _mm256_max_epi8(_mm256_packs_epi16(first, second), limits->low);
  return _mm256_permute4x64_epi64(codes, 0xd8);
}

TIN_INLINE __m256i clamped(__m256i first, __m256i second, const struct limits *limits) {
  const __m256i codes = _mm256_packs_epi16(first, second);
  return _mm256_min_epi8(_mm256_max_epi8(codes, limits->low), limits->high);
}

/* The codes of two pixels of 16 channels, whose sums are `sums` and `next`, two vectors each. */
TIN_INLINE void two_pixels(const __m256i *sums, const __m256i *next, const float *scale,
                           const struct limits *limits, int far, __m128i *codes) {
  const __m256i both = clamped(halves_of(sums[0], scale, sums[1], scale + 8, limits, far),
                               halves_of(next[0], scale, next[1], scale + 8, limits, far), limits);
  const __m128i low = _mm256_castsi256_si128(both), high = _mm256_extracti128_si256(both, 1);
  codes[0] = _mm_unpacklo_epi64(low, high);
  codes[1] = _mm_unpackhi_epi64(low, high);
}

/* The codes of four pixels of 8 channels: two pixels in each vector. */
TIN_INLINE void four_pixels(__m256i first, __m256i second, __m256i third, __m256i fourth,
                            const float *scale, const struct limits *limits, int far,
                            __m128i *codes) {
  const __m256i all = clamped(halves_of(first, scale, second, scale, limits, far),
                              halves_of(third, scale, fourth, scale, limits, far), limits);
  const __m128i low = _mm256_castsi256_si128(all), high = _mm256_extracti128_si256(all, 1);
  codes[0] = _mm_unpacklo_epi32(low, high);
  codes[1] = _mm_unpackhi_epi32(low, high);
}

#endif
