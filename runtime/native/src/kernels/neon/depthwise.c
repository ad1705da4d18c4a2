/* Depthwise convolution with NEON: 8 lanes of four places at once, a tap at a time. */
#ifdef __ARM_NEON
#include "../depthwise.h"

#include "requantize.h"

static void write_pixels(int16_t *to, const int8_t *from, int32_t count, int32_t channels,
                         size_t step, int16_t zero) {
  const int16x8_t zeros = vdupq_n_s16(zero);
  for (int32_t pixel = 0; pixel < count; pixel++, from += step, to += channels) {
    int32_t i = 0;
    for (; i + 8 <= channels; i += 8)
      vst1q_s16(to + i, vsubq_s16(vmovl_s8(vld1_s8(from + i)), zeros));
    for (; i < channels; i++) to[i] = (int16_t)(from[i] - zero);
  }
}

/* Adds the products of all taps to `sums[8]`, two vectors for each of four places. */
TIN_INLINE void sum_taps(const struct tin_lanes *lanes, const struct tin_place *places,
                         int32x4_t *sums) {
  const int16_t *pixels[4], *weights = lanes->weights;
  TIN_UNROLL for (int i = 0; i < 4; i++) {
    pixels[i] = lanes->image + places[i].image;
    sums[2 * i] = vld1q_s32(lanes->bias);
    sums[2 * i + 1] = vld1q_s32(lanes->bias + 4);
  }
  for (int32_t tap = 0; tap < lanes->taps; tap++, weights += 8) {
    const ptrdiff_t offset = lanes->offsets[tap];
    const int16x8_t weight = vld1q_s16(weights);
    TIN_UNROLL for (int i = 0; i < 4; i++) {
      const int16x8_t codes = vld1q_s16(pixels[i] + offset);
      sums[2 * i] = vmlal_s16(sums[2 * i], vget_low_s16(codes), vget_low_s16(weight));
      sums[2 * i + 1] = vmlal_s16(sums[2 * i + 1], vget_high_s16(codes), vget_high_s16(weight));
      TIN_PIN(sums[2 * i]);
      TIN_PIN(sums[2 * i + 1]);
    }
  }
}

static __attribute__((noinline)) void lanes_4x8(const struct tin_lanes *lanes) {
  for (int32_t first = 0; first < lanes->count; first += 4) {
    const struct tin_place *places = lanes->places + first;
    int32x4_t sums[8];
    int8x8_t codes[4];
    sum_taps(lanes, places, sums);
    TIN_READ_AGAIN();
    TIN_UNROLL for (int i = 0; i < 4; i++)
      codes[i] = codes_of(sums[2 * i], sums[2 * i + 1], lanes->scale, lanes->scale + 4,
                          lanes->zero, lanes->low, lanes->high);
    for (int32_t i = 0; i < 4 && first + i < lanes->count; i++)
      store_codes(lanes->out + places[i].out, codes[i], places[i].left);
  }
}

static const struct tin_depthwise NEON = {{8, 1, 0}, write_pixels, lanes_4x8};

TIN_DEPTHWISE_KERNEL(tin_neon_depthwise, "neon depthwise", NEON);

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
