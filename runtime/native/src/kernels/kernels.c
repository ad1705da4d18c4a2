/* Which kernels there are for an instruction set. */
#include "kernels.h"

extern const struct tin_kernel tin_avx2_convolution, tin_avx2_dense, tin_avx2_depthwise,
    tin_avx2_pointwise, tin_avx2_row_pairs, tin_avx2_wide, tin_avx2_winograd,
    tin_avxvnni_convolution, tin_avx512vnni_convolution, tin_neon_convolution,
    tin_neon_depthwise, tin_neondot_convolution;

static const struct tin_kernel *const PORTABLE[] = {&tin_product_portable, NULL};

#ifdef TIN_WITH_AVX2
static const struct tin_kernel *const AVX2[] = {
    &tin_avx2_row_pairs,
    &tin_avx2_depthwise,
    &tin_avx2_dense,
    &tin_avx2_winograd,
    &tin_avx2_pointwise,
    &tin_avx2_wide,
    &tin_avx2_convolution,
    &tin_product_portable,
    NULL,
};
#endif

#ifdef TIN_WITH_AVXVNNI
static const struct tin_kernel *const AVXVNNI[] = {
    &tin_avx2_row_pairs,
    &tin_avx2_depthwise,
    &tin_avxvnni_convolution,
    &tin_product_portable,
    NULL,
};
#endif

#ifdef TIN_WITH_AVX512VNNI
static const struct tin_kernel *const AVX512VNNI[] = {
    &tin_avx2_row_pairs,
    &tin_avx2_depthwise,
    &tin_avx512vnni_convolution,
    &tin_product_portable,
    NULL,
};
#endif

#ifdef TIN_WITH_NEON
static const struct tin_kernel *const NEON[] = {
    &tin_neon_depthwise,
    &tin_neon_convolution,
    &tin_product_portable,
    NULL,
};
#endif

#ifdef TIN_WITH_NEONDOT
static const struct tin_kernel *const NEONDOT[] = {
    &tin_neon_depthwise,
    &tin_neondot_convolution,
    &tin_product_portable,
    NULL,
};
#endif

const struct tin_kernel *const *tin_product_kernels(enum tin_isa isa) {
  switch (isa) {
#ifdef TIN_WITH_AVX2
    case TIN_ISA_AVX2: return AVX2;
#endif
#ifdef TIN_WITH_AVXVNNI
    case TIN_ISA_AVXVNNI: return AVXVNNI;
#endif
#ifdef TIN_WITH_AVX512VNNI
    case TIN_ISA_AVX512VNNI: return AVX512VNNI;
#endif
#ifdef TIN_WITH_NEON
    case TIN_ISA_NEON: return NEON;
#endif
#ifdef TIN_WITH_NEONDOT
    case TIN_ISA_NEONDOT: return NEONDOT;
#endif
    default: return PORTABLE;
  }
}
