/* Loads plans that no export wrote, and runs those that the loader takes.
 *
 *   fuzz COUNT SEED PLAN...    mutates the plans COUNT times
 *
 * Compiled by test_mutations.py with AddressSanitizer and UndefinedBehaviorSanitizer, which end the
 * process at the first access outside of memory. With clang -fsanitize=fuzzer and -DLIBFUZZER it is
 * a target of libFuzzer.
 */
#include "tinsmith.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t WORTH_RUNNING = 1 << 22; /* multiplications: some milliseconds */

static void *allocated(size_t size) {
  void *found = malloc(size ? size : 1);
  if (found == NULL) exit(3);
  return found;
}

/* Runs a model on codes that are any, in memory that has not a byte more than it needs. */
static void run(tin_model *model) {
  void *inputs[32], *outputs[32];
  tin_tensor tensor;
  for (uint32_t i = 0; i < tin_input_count(model); i++) {
    if (tin_input(model, i, &tensor) != TIN_OK) exit(4);
    inputs[i] = allocated(tensor.bytes);
    for (uint32_t k = 0; k < tensor.bytes; k++) ((uint8_t *)inputs[i])[k] = (uint8_t)(k * 37 + i);
  }
  for (uint32_t i = 0; i < tin_output_count(model); i++) {
    if (tin_output(model, i, &tensor) != TIN_OK) exit(4);
    outputs[i] = allocated(tensor.bytes);
  }
  uint64_t *times = calloc(tin_operator_count(model) + 1, sizeof *times);
  if (times == NULL) exit(3);
  if (tin_run(model, (const void *const *)inputs, outputs, 1, 1, times) != TIN_OK) exit(4);
  free(times);
  for (uint32_t i = 0; i < tin_input_count(model); i++) free(inputs[i]);
  for (uint32_t i = 0; i < tin_output_count(model); i++) free(outputs[i]);
}

/* Gives the status of loading a plan, or the one that a bundle holds. */
static int try_plan(const uint8_t *data, size_t size) {
  uint8_t *copy = allocated(size);
  memcpy(copy, data, size);
  tin_model *model;
  const void *plan;
  size_t plan_size;
  const int is_bundle = tin_find_plan(copy, size, &plan, &plan_size) == TIN_OK;
  const int status = tin_load(is_bundle ? plan : copy, is_bundle ? plan_size : size, 1, &model);
  if (status == TIN_OK) {
    for (uint32_t i = 0; i < tin_operator_count(model); i++) {
      tin_operator_info info;
      if (tin_operator(model, i, &info) != TIN_OK) exit(4);
    }
    if (tin_work(model) <= WORTH_RUNNING) run(model);
  }
  tin_free(model);
  free(copy);
  return status;
}

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  (void)try_plan(data, size);
  return 0;
}

#else

static uint64_t state;

static uint32_t below(uint32_t limit) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 16) % limit;
}

static uint32_t word(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void set_word(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}

static const uint32_t NUMBERS[] = {0,        1,          2,          3,          7,
                                   63,       64,         127,        128,        255,
                                   256,      0xffff,     1u << 15,   1u << 21,   1u << 24,
                                   1u << 30, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
                                   0x7f800000 /* infinity */, 0x7fc00000 /* NaN */};

/* Changes a plan a little; gives its new size. Most changes are to whole words of the tables, since
 * those say where everything lies. */
static size_t mutate(uint8_t *data, size_t size) {
  if (memcmp(data, "PK", 2) == 0) { /* a bundle: its directory lies at its end */
    for (uint32_t changes = 1 + below(4); changes > 0; changes--) {
      data[size - 1 - below(below(4) == 0 ? (uint32_t)size : 300)] = (uint8_t)below(256);
    }
    return size;
  }
  const uint32_t tables = 64 + 48 * word(data + 20) + 80 * word(data + 24) + 8 * word(data + 28) +
                          4 * word(data + 32) + 8 * (word(data + 36) + word(data + 40));
  for (uint32_t changes = 1 + below(3); changes > 0; changes--) {
    uint8_t *at = data + 4 * (3 + below(tables / 4 - 3));
    switch (below(8)) {
      case 0:
        set_word(at, NUMBERS[below(sizeof NUMBERS / sizeof *NUMBERS)]);
        break;
      case 1:
        set_word(at, word(at) + below(9) - 4);
        break;
      case 2:
        set_word(at, word(data + 4 * below(tables / 4)));
        break;
      case 3:
        set_word(at, word(at) ^ 1u << below(32));
        break;
      case 4:
        set_word(at, below(1 + word(at) % 4096));
        break;
      case 5:
        data[below((uint32_t)size)] ^= (uint8_t)(1 + below(255));
        break;
      case 6:
        set_word(at, word(at) * (2 + below(6)));
        break;
      default:
        if (below(8) == 0) {
          size = tables + below((uint32_t)size - tables + 1);
          set_word(data + 12, (uint32_t)size);
          return size;
        }
        data[tables + below((uint32_t)size - tables)] = (uint8_t)below(256);
    }
  }
  return size;
}

enum { MOST = 1 << 16, PLANS = 64 }; /* bytes of a plan, and plans */

static uint8_t *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) exit(2);
  uint8_t *data = allocated(MOST);
  *size = fread(data, 1, MOST, file);
  fclose(file);
  return data;
}

int main(int count, char **words) {
  if (count < 4 || count - 3 > PLANS) return 2;
  const long mutations = atol(words[1]), plans = count - 3;
  state = 0x9e3779b97f4a7c15u ^ strtoull(words[2], NULL, 10);
  uint64_t found[TIN_ERROR_COUNT] = {0};
  uint8_t *plan[PLANS], *scratch = allocated(MOST);
  size_t size[PLANS];
  for (long i = 0; i < plans; i++) {
    plan[i] = read_file(words[3 + i], &size[i]);
    if (try_plan(plan[i], size[i]) != TIN_OK) return 5;
  }
  for (long i = 0; i < mutations; i++) {
    memcpy(scratch, plan[i % plans], size[i % plans]);
    found[try_plan(scratch, mutate(scratch, size[i % plans]))]++;
  }
  for (long i = 0; i < plans; i++) free(plan[i]);
  free(scratch);
  for (int i = 0; i < TIN_ERROR_COUNT; i++) {
    printf("%d %llu %s\n", i, (unsigned long long)found[i], tin_error_text(i));
  }
  return 0;
}

#endif
