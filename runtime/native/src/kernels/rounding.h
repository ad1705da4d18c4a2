/* From sums and products back to codes. */
#ifndef TINSMITH_ROUNDING_H
#define TINSMITH_ROUNDING_H

#include <float.h>
#include <stdint.h>

/* The arithmetic is float32's at every step: no wider registers. */
_Static_assert(FLT_EVAL_METHOD == 0, "tinsmith needs float arithmetic in float");

/* The code that is `steps` away from `zero`, rounded halves to even, within low..high. The limits
 * are whole numbers, so it is the same to clamp first. Of what is clamped, a float that begins at
 * 1.5 * 2^23 has no place for a fraction: the addition rounds it. */
static inline int8_t tin_round(float steps, int32_t zero, int32_t low, int32_t high) {
  const float least = (float)(low - zero), most = (float)(high - zero);
  const float clamped = steps < least ? least : steps > most ? most : steps;
  const float shifted = clamped + 12582912.0f;
  return (int8_t)((int32_t)(shifted - 12582912.0f) + zero);
}

/* The code of a sum of products, `scale` output codes each. */
static inline int8_t tin_requantize(int32_t sum, float scale, int32_t zero, int32_t low,
                                    int32_t high) {
  return tin_round((float)sum * scale, zero, low, high);
}

#endif
