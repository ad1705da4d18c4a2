/* Operators besides the product with AVX2. All but the sum are the portable ones, whose loops
 * compilers make vectors of. */
#ifdef __AVX2__
#define tin_multiply tin_avx2_multiply
#define tin_maximum tin_avx2_maximum
#define tin_minimum tin_avx2_minimum
#define tin_max_pool tin_avx2_max_pool
#include "../max_pool.c"
#include "../maximum.c"
#include "../minimum.c"
#include "../multiply.c"
#include "vectors.h"

/* What of a sum is the same everywhere. */
struct sum {
  __m256i one_factor, other_factor, rest, zero;
  __m128i shift;
};

/* Eight sums, as whole steps away from the zero point; see add.c. */
TIN_INLINE __m256i eight_sums(const struct sum *sum, const int8_t *one, const int8_t *other) {
  const __m256i a = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)one));
  const __m256i b = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)other));
  const __m256i both = _mm256_add_epi32(_mm256_mullo_epi32(a, sum->one_factor),
                                        _mm256_mullo_epi32(b, sum->other_factor));
  return _mm256_sra_epi32(_mm256_add_epi32(both, sum->rest), sum->shift);
}

/* 32 sums. Saturating steps take what is beyond the least and the largest code there. */
TIN_INLINE __m256i sums_of(const struct sum *sum, const int8_t *one, const int8_t *other) {
  __m256i eight[4];
  TIN_UNROLL for (int i = 0; i < 4; i++) eight[i] = eight_sums(sum, one + 8 * i, other + 8 * i);
  const __m256i first = _mm256_adds_epi16(_mm256_packs_epi32(eight[0], eight[1]), sum->zero);
  const __m256i second = _mm256_adds_epi16(_mm256_packs_epi32(eight[2], eight[3]), sum->zero);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, second), order);
}

static void tin_avx2_add(const struct tin_pair *pair, const int8_t *one, const int8_t *other,
                         int8_t *out) {
  const int last = TIN_RANK - 1;
  struct tin_pair p = *pair;
  tin_merge_rows(&p);
  const int32_t zeros = p.one_zero * p.one_factor + p.other_zero * p.other_factor;
  const struct sum sum = {
      _mm256_set1_epi32(p.one_factor), _mm256_set1_epi32(p.other_factor),
      _mm256_set1_epi32(((int32_t)1 << (p.shift - 1)) - zeros),
      _mm256_set1_epi16((int16_t)p.out_zero), _mm_cvtsi32_si128(p.shift),
  };
  int64_t rows = 1;
  for (int axis = 0; axis < last; axis++) rows *= p.shape[axis];
  if (rows == 1 && p.one_step[last] == 1 && p.other_step[last] == 1) {
    for (; p.shape[last] >= 32; p.shape[last] -= 32, one += 32, other += 32, out += 32)
      _mm256_storeu_si256((__m256i *)out, sums_of(&sum, one, other));
  }
  if (p.shape[last] > 0) tin_add(&p, one, other, out);
}

const struct tin_operators tin_avx2_operators = {
    "avx2", tin_avx2_add, tin_multiply, tin_maximum, tin_minimum, tin_max_pool,
};

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
