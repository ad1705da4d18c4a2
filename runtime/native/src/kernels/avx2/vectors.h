/* Loads, and what keeps vectors in registers. */
#ifndef TINSMITH_AVX2_VECTORS_H
#define TINSMITH_AVX2_VECTORS_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define TIN_INLINE static inline __attribute__((always_inline))
#define TIN_UNROLL _Pragma("GCC unroll 16")
#define TIN_NO_UNROLL _Pragma("GCC unroll 1")

/* The steps that AVX2's convolution takes; see steps.h. */
#define TIN_AVX2_FORM {4, 16, 1, 0x80, TIN_SUMS_UNSIGNED, 1, 1, 4}

/* Those of its convolution in int16. */
#define TIN_AVX2_WIDE_FORM {2, 16, 1, 0, TIN_SUMS_INT32, 2, 2, 6}

/* Four bytes of the image in every lane. */
TIN_INLINE __m256i spread(const uint8_t *taps) {
  int32_t four;
  memcpy(&four, taps, 4);
  return _mm256_set1_epi32(four);
}

TIN_INLINE __m256i load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }

/* Writes codes as int16. */
TIN_INLINE void widen_codes(int16_t *to, const uint8_t *codes, size_t count) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i narrow = _mm_loadu_si128((const __m128i *)(codes + i));
    _mm256_storeu_si256((__m256i *)(to + i), _mm256_cvtepi8_epi16(narrow));
  }
  for (; i < count; i++) to[i] = (int8_t)codes[i];
}

/* Adds to a sum in its own register, int32 or int16: compilers would put the result into another one and
 * copy it back. The order of these stays as it is written. */
#define TIN_ADD_32(sum, more) __asm__ volatile("vpaddd %1, %0, %0" : "+x"(sum) : "x"(more))
#define TIN_ADD_16(sum, more) __asm__ volatile("vpaddw %1, %0, %0" : "+x"(sum) : "x"(more))

/* Compilers reorder steps until there are more vectors than registers. A step behind which its sums
 * are pinned stays where it is. */
#define TIN_PIN(vector) __asm__ volatile("" : "+x"(vector))

/* What is read behind this is not kept in registers from before: those are the sums'. */
#define TIN_READ_AGAIN() __asm__ volatile("" ::: "memory")

/* Keeps what is not needed in an inner loop out of registers there: it is read behind TIN_READ_AGAIN. */
#define TIN_IN_MEMORY(variable) __asm__ volatile("" : : "r"(&(variable)) : "memory")

#endif
