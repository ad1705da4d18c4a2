/* Convolution in int16 with AVX2: vpmaddwd multiplies two taps of eight channels and sums them in
 * int32. Nothing overflows, whatever the weights are: for those that are too large to be summed in
 * int16 (convolution.c) this takes fewer steps. */
#ifdef __AVX2__
#define TIN_PIXELS 6 /* 12 registers for sums */
#include "tile.h"

TIN_INLINE void sum_steps(const struct tin_tile *tile, const uint8_t *const *pixels, __m256i *sums,
                          int count, int vectors) {
  const int32_t *offset = tin_tile_offsets(tile), *const end = offset + tile->ones;
  const int8_t *weights = tin_tile_weights(tile);
  for (; offset != end; offset++, weights += 32 * vectors) {
    __m256i weight[2];
    TIN_UNROLL for (int v = 0; v < vectors; v++) weight[v] = load(weights + 32 * v);
    TIN_UNROLL for (int i = 0; i < count; i++) {
      const __m256i taps = spread(pixels[i] + *offset);
      TIN_UNROLL for (int v = 0; v < vectors; v++)
        TIN_ADD_32(sums[i * vectors + v], _mm256_madd_epi16(taps, weight[v]));
    }
  }
}

static void widen(int16_t *to, const uint8_t *codes, size_t count) {
  widen_codes(to, codes, count);
}

/* Whether it multiplies so much less than the kernel that sums in int16 that it is faster; that was
 * measured. */
static int serves(const struct tin_product *p) {
  const struct tin_step_form wide = TIN_AVX2_WIDE_FORM, other = TIN_AVX2_FORM;
  return tin_convolution_serves(p) &&
         5 * tin_steps_lanes(&wide, p) <= 4 * tin_steps_lanes(&other, p);
}

static const struct tin_convolution WIDE = {TIN_AVX2_WIDE_FORM, run_tile, widen};

TIN_CHOSEN_CONVOLUTION_KERNEL(tin_avx2_wide, "avx2 wide convolution", WIDE, serves);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
