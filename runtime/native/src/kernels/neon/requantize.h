/* Sums become codes, four or eight channels at once: tin_requantize (rounding.h) in vectors. */
#ifndef TINSMITH_NEON_REQUANTIZE_H
#define TINSMITH_NEON_REQUANTIZE_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define TIN_INLINE static inline __attribute__((always_inline))
#define TIN_UNROLL _Pragma("GCC unroll 16")

/* Compilers reorder steps until there are more vectors than registers. A step behind which its sums
 * are pinned stays where it is. */
#define TIN_PIN(vector) __asm__ volatile("" : "+w"(vector))

/* What is read behind this is not kept in registers from before: those are the sums'. */
#define TIN_READ_AGAIN() __asm__ volatile("" ::: "memory")

/* Four sums, as whole steps away from the zero point; `low` and `high` are limits of these. */
TIN_INLINE int32x4_t steps_of(int32x4_t sums, const float *scale, float low, float high) {
  const float32x4_t steps = vmulq_f32(vcvtq_f32_s32(sums), vld1q_f32(scale));
  const float32x4_t clamped = vmaxq_f32(vminq_f32(steps, vdupq_n_f32(high)), vdupq_n_f32(low));
#ifdef __aarch64__
  return vcvtnq_s32_f32(clamped);
#else
  /* No conversion here rounds. A float that begins at 1.5 * 2^23 has no place for a fraction: the
   * addition rounds it, halves to even. */
  const float32x4_t shifted = vaddq_f32(clamped, vdupq_n_f32(12582912.0f));
  return vsubq_s32(vreinterpretq_s32_f32(shifted), vdupq_n_s32(0x4b400000));
#endif
}

/* The codes of two vectors of sums, each with scales of its own. */
TIN_INLINE int8x8_t codes_of(int32x4_t first, int32x4_t second, const float *first_scale,
                             const float *second_scale, int32_t zero, int32_t low, int32_t high) {
  const float least = (float)(low - zero), most = (float)(high - zero);
  const int16x8_t steps = vcombine_s16(vmovn_s32(steps_of(first, first_scale, least, most)),
                                       vmovn_s32(steps_of(second, second_scale, least, most)));
  return vmovn_s16(vaddq_s16(steps, vdupq_n_s16((int16_t)zero)));
}

/* Stores the first `count` codes of 8. */
TIN_INLINE void store_codes(int8_t *out, int8x8_t codes, int32_t count) {
  int8_t all[8];
  if (count >= 8) {
    vst1_s8(out, codes);
  } else if (count > 0) {
    vst1_s8(all, codes);
    memcpy(out, all, (size_t)count);
  }
}

#endif
