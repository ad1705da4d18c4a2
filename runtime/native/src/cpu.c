/* What this CPU has. The names of the macros are the compiler's: CMake says which kernels there are
 * by TIN_WITH_<ISA>. */
#include "kernels/kernels.h"

#if defined(__x86_64__) && defined(TIN_WITH_AVX2)
#include <cpuid.h>

enum { OSXSAVE = 1 << 27, AVX2 = 1 << 5, AVXVNNI = 1 << 4, AVX512VNNI = 1 << 11 };
enum { AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512BW = 1 << 30 };
static const uint32_t AVX512VL = 1u << 31;

/* Which registers the system saves: bits 1 and 2 for ymm, 5 to 7 for zmm. */
static uint32_t saved_registers(void) {
  uint32_t eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & OSXSAVE)) return 0;
  __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return eax;
}

int tin_cpu_has(enum tin_isa isa) {
  const uint32_t all = AVX512F | AVX512DQ | AVX512BW | AVX512VL, saved = saved_registers();
  uint32_t eax, ebx, ecx, edx, more, unused;
  if ((saved & 6) != 6 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
  if (!__get_cpuid_count(7, 1, &more, &unused, &unused, &unused)) more = 0;
  if (!(ebx & AVX2)) return 0;
  switch (isa) {
    case TIN_ISA_AVX2: return 1;
    case TIN_ISA_AVXVNNI: return (more & AVXVNNI) != 0;
    case TIN_ISA_AVX512VNNI:
      return (ecx & AVX512VNNI) && (ebx & all) == all && (saved & 0xe6) == 0xe6;
    default: return 0;
  }
}

#elif defined(__linux__) && (defined(TIN_WITH_NEON) || defined(TIN_WITH_NEONDOT))
#include <sys/auxv.h>

/* Bits of AT_HWCAP: of the kernel's interface, they never change. */
enum { ARMV7_NEON = 1 << 12, ARMV8_DOT_PRODUCT = 1 << 20 };

int tin_cpu_has(enum tin_isa isa) {
  const unsigned long has = getauxval(AT_HWCAP);
#ifdef __aarch64__
  return isa == TIN_ISA_NEON || (isa == TIN_ISA_NEONDOT && (has & ARMV8_DOT_PRODUCT) != 0);
#else
  return isa == TIN_ISA_NEON && (has & ARMV7_NEON) != 0;
#endif
}

#else

int tin_cpu_has(enum tin_isa isa) {
  (void)isa;
  return 0;
}

#endif
