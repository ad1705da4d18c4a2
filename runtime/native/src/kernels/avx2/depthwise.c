/* Depthwise convolution with AVX2: 16 lanes of four places at once.
 *
 * vpmaddwd multiplies and sums pairs, so taps go by two: unpacking puts the two taps of a lane
 * beside each other, lanes 0..3 and 8..11 into one vector and 4..7 and 12..15 into another.
 */
#ifdef __AVX2__
#include "../depthwise.h"

#include "requantize.h"
#include "vectors.h"

static void write_pixels(int16_t *to, const int8_t *from, int32_t count, int32_t channels,
                         size_t step, int16_t zero) {
  const __m256i zeros = _mm256_set1_epi16(zero);
  for (int32_t pixel = 0; pixel < count; pixel++, from += step, to += channels) {
    int32_t i = 0;
    for (; i + 16 <= channels; i += 16) {
      const __m256i codes = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(from + i)));
      _mm256_storeu_si256((__m256i *)(to + i), _mm256_sub_epi16(codes, zeros));
    }
    for (; i + 8 <= channels; i += 8) {
      const __m128i codes = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(from + i)));
      _mm_storeu_si128((__m128i *)(to + i), _mm_sub_epi16(codes, _mm256_castsi256_si128(zeros)));
    }
    for (; i < channels; i++) to[i] = (int16_t)(from[i] - zero);
  }
}

static void store_lanes(int8_t *out, __m128i codes, int32_t left) {
  int8_t all[16];
  if (left >= 16) {
    _mm_storeu_si128((__m128i *)out, codes);
  } else {
    _mm_storeu_si128((__m128i *)all, codes);
    memcpy(out, all, (size_t)left);
  }
}

/* Adds the products of all taps to `sums[8]`, two vectors for each of four places. */
TIN_INLINE void sum_taps(const struct tin_lanes *lanes, const struct tin_place *places,
                         __m256i *sums) {
  const int16_t *pixels[4], *weights = lanes->weights;
  TIN_UNROLL for (int i = 0; i < 4; i++) {
    pixels[i] = lanes->image + places[i].image;
    sums[2 * i] = load(lanes->bias);
    sums[2 * i + 1] = load(lanes->bias + 8);
  }
  for (int32_t tap = 0; tap < lanes->taps; tap += 2, weights += 32) {
    const ptrdiff_t first = lanes->offsets[tap], second = lanes->offsets[tap + 1];
    const __m256i low = load(weights), high = load(weights + 16);
    TIN_UNROLL for (int i = 0; i < 4; i++) {
      __m256i one = load(pixels[i] + first), other = load(pixels[i] + second);
      TIN_PIN(one); /* read once: loads are what there are most of here */
      TIN_PIN(other);
      const __m256i lows = _mm256_madd_epi16(_mm256_unpacklo_epi16(one, other), low);
      const __m256i highs = _mm256_madd_epi16(_mm256_unpackhi_epi16(one, other), high);
      sums[2 * i] = _mm256_add_epi32(sums[2 * i], lows);
      sums[2 * i + 1] = _mm256_add_epi32(sums[2 * i + 1], highs);
      TIN_PIN(sums[2 * i]);
      TIN_PIN(sums[2 * i + 1]);
    }
  }
}

static __attribute__((noinline)) void lanes_4x16(const struct tin_lanes *lanes) {
  for (int32_t first = 0; first < lanes->count; first += 4) {
    const struct tin_place *places = lanes->places + first;
    __m256i sums[8];
    __m128i codes[4];
    sum_taps(lanes, places, sums);
    TIN_READ_AGAIN();
    const struct limits limits = limits_of(lanes->zero, lanes->low, lanes->high);
    TIN_UNROLL for (int i = 0; i < 4; i += 2) {
      const __m256i both = codes_of(
          sixteen(sums[2 * i], sums[2 * i + 1], lanes->scale, &limits),
          sixteen(sums[2 * i + 2], sums[2 * i + 3], lanes->scale, &limits), &limits);
      codes[i] = _mm256_castsi256_si128(both);
      codes[i + 1] = _mm256_extracti128_si256(both, 1);
    }
    for (int32_t i = 0; i < 4 && first + i < lanes->count; i++)
      store_lanes(lanes->out + places[i].out, codes[i], places[i].left);
  }
}

static const struct tin_depthwise AVX2 = {{16, 2, 1}, write_pixels, lanes_4x16};

TIN_DEPTHWISE_KERNEL(tin_avx2_depthwise, "avx2 depthwise", AVX2);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
