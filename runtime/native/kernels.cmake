# The kernels that instruction sets have versions of, and what each instruction set needs to be compiled. Sets
# `kernel_sources` and `kernel_definitions` for whatever compiler there is.
include(CheckCCompilerFlag)
set(kernels ${CMAKE_CURRENT_LIST_DIR}/src/kernels)
set(kernel_sources ${kernels}/kernels.c ${kernels}/product.c ${kernels}/steps.c ${kernels}/image.c
  ${kernels}/convolution.c ${kernels}/depthwise.c ${kernels}/operators.c ${kernels}/add.c
  ${kernels}/max_pool.c ${kernels}/maximum.c ${kernels}/minimum.c ${kernels}/multiply.c
  ${CMAKE_CURRENT_LIST_DIR}/src/cpu.c)
set(kernel_definitions)

# Adds src/kernels/<isa>/ with the first of the sets of flags that the compiler takes, if there is one.
# GCC and zig name the same things differently.
function(add_isa isa)
  string(TOUPPER ${isa} name)
  set(CMAKE_REQUIRED_QUIET ON)
  set(try 0)
  foreach(flags IN LISTS ARGN)
    math(EXPR try "${try} + 1")
    check_c_compiler_flag("${flags}" TIN_COMPILES_${name}_${try})
    if(TIN_COMPILES_${name}_${try})
      file(GLOB sources CONFIGURE_DEPENDS ${kernels}/${isa}/*.c)
      separate_arguments(options UNIX_COMMAND "${flags}")
      set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${options}")
      set(kernel_sources ${kernel_sources} ${sources} PARENT_SCOPE)
      set(kernel_definitions ${kernel_definitions} TIN_WITH_${name} PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

include(CheckSymbolExists)
check_symbol_exists(__x86_64__ "stdint.h" TIN_X86_64)
check_symbol_exists(__aarch64__ "stdint.h" TIN_AARCH64)
check_symbol_exists(__arm__ "stdint.h" TIN_ARM)
if(TIN_AARCH64)
  add_isa(neon "-O3") # every one has NEON
  add_isa(neondot "-march=armv8.2-a+dotprod" "-mcpu=generic+dotprod")
elseif(TIN_ARM)
  # The other files keep to what the compiler is told: ARMv6 has no NEON, and runs without.
  add_isa(neon "-march=armv7-a -mfpu=neon -mfloat-abi=hard" "-mcpu=cortex_a8")
elseif(TIN_X86_64)
  add_isa(avx2 "-mavx2")
  add_isa(avxvnni "-mavx2 -mavxvnni")
  add_isa(avx512vnni "-mavx2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni")
endif()
