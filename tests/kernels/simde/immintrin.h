/* In place of the compiler's header: every instruction that this CPU lacks as portable C, by SIMDe. */
#pragma once
#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>

#define _mm256_dpbusd_avx_epi32(sums, codes, weights) \
  simde_mm256_dpbusd_epi32(sums, codes, weights)

/* Two that SIMDe leaves out, by halves. */
static inline simde__m512 tin_cvtepi32_ps(simde__m512i whole) {
  simde__m256 low = simde_mm256_cvtepi32_ps(simde_mm512_castsi512_si256(whole));
  simde__m256 high = simde_mm256_cvtepi32_ps(simde_mm512_extracti64x4_epi64(whole, 1));
  return simde_mm512_castpd_ps(simde_mm512_insertf64x4(
      simde_mm512_castps_pd(simde_mm512_castps256_ps512(low)), simde_mm256_castps_pd(high), 1));
}
static inline simde__m512i tin_cvtps_epi32(simde__m512 steps) {
  simde__m256i low = simde_mm256_cvtps_epi32(simde_mm512_castps512_ps256(steps));
  simde__m256i high = simde_mm256_cvtps_epi32(simde_mm256_castpd_ps(
      simde_mm512_extractf64x4_pd(simde_mm512_castps_pd(steps), 1)));
  return simde_mm512_inserti64x4(simde_mm512_castsi256_si512(low), high, 1);
}
#define _mm512_cvtepi32_ps tin_cvtepi32_ps
#define _mm512_cvtps_epi32 tin_cvtps_epi32
