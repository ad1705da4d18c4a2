# What find_package(tinsmith) reads.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/tinsmithTargets.cmake)
