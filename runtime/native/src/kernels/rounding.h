/* From sums and products back to codes. */
#ifndef TINSMITH_ROUNDING_H
#define TINSMITH_ROUNDING_H

#include <math.h>
#include <stdint.h>

/* The code that is `steps` away from `zero`, rounded halves to even, within low..high. The limits
 * are whole numbers, so it is the same to clamp first; and what is clamped fits into int32. */
static inline int8_t tin_round(float steps, int32_t zero, int32_t low, int32_t high) {
  const float least = (float)(low - zero), most = (float)(high - zero);
  const float clamped = steps < least ? least : steps > most ? most : steps;
  return (int8_t)((int32_t)nearbyintf(clamped) + zero);
}

/* The code of a sum of products, `scale` output codes each. */
static inline int8_t tin_requantize(int32_t sum, float scale, int32_t zero, int32_t low,
                                    int32_t high) {
  return tin_round((float)sum * scale, zero, low, high);
}

#endif
