/* Dense layers with AVX2: a single pixel, for which each weight is read once. They stay int8 in
 * memory, whose speed is the limit, and become int16 on the way. */
#ifdef __AVX2__
#define TIN_PIXELS 2
#include "tile.h"

TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *const *pixels, __m256i *sums,
                          int count, int vectors) {
  const int32_t *offset = tin_tile_offsets(tile), *const end = offset + tile->ones;
  const int8_t *weights = tin_tile_weights(tile);
  for (; offset != end; offset++, weights += 16 * vectors) {
    TIN_UNROLL for (int v = 0; v < vectors; v++) {
      const __m128i narrow = _mm_loadu_si128((const __m128i *)(weights + 16 * v));
      const __m256i weight = _mm256_cvtepi8_epi16(narrow);
      TIN_UNROLL for (int i = 0; i < count; i++) {
        __m256i *sum = &sums[i * vectors + v];
        const __m256i taps = spread(pixels[i] + *offset);
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(taps, weight));
        TIN_PIN(*sum);
      }
    }
  }
}

static void widen(int16_t *to, const uint8_t *codes, size_t count) {
  widen_codes(to, codes, count);
}

static const struct tin_convolution DENSE = {{2, 16, 1, 0, TIN_SUMS_INT32, 2, 1}, run_tile, widen};

/* Whether it multiplies so much less than the kernel that sums in int16 that it is faster; that was
 * measured. */
static int serves(const struct tin_product *p) {
  const struct tin_step_form other = TIN_AVX2_FORM;
  return p->out_h == 1 && p->out_w == 1 && tin_convolution_serves(p) &&
         5 * tin_steps_lanes(&DENSE.form, p) <= 4 * tin_steps_lanes(&other, p);
}

TIN_CHOSEN_CONVOLUTION_KERNEL(tin_avx2_dense, "avx2 dense", DENSE, serves);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
