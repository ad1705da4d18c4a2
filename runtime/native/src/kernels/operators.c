/* Which versions of the operators besides the product there are for an instruction set. */
#include "operators.h"

static const struct tin_operators PORTABLE = {
    "portable", tin_add, tin_multiply, tin_maximum, tin_minimum, tin_max_pool,
};

#ifdef TIN_WITH_AVX2
extern const struct tin_operators tin_avx2_operators;
#endif
#ifdef TIN_WITH_NEON
extern const struct tin_operators tin_neon_operators;
#endif

const struct tin_operators *tin_operators_for(enum tin_isa isa) {
  switch (isa) {
#ifdef TIN_WITH_AVX2
    case TIN_ISA_AVX2:
    case TIN_ISA_AVXVNNI:
    case TIN_ISA_AVX512VNNI: return &tin_avx2_operators;
#endif
#ifdef TIN_WITH_NEON
    case TIN_ISA_NEON:
    case TIN_ISA_NEONDOT: return &tin_neon_operators;
#endif
    default: return &PORTABLE;
  }
}
