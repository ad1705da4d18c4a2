/* Reads the header and the records of a plan, each field by itself: no alignment, no byte order. */
#include "plan.h"

#include <math.h>
#include <string.h>

enum { HEADER = 64, TENSOR = 48, OPERATOR = 80, CONSTANT = 8, END = 8, INDEX = 4 };

static const char MAGIC[8] = {'T', 'I', 'N', 'P', 'L', 'A', 'N', 0};
static const uint32_t VERSION = 1;

uint32_t tin_word_at(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

float tin_float_at(const uint8_t *at) {
  const uint32_t word = tin_word_at(at);
  float value;
  memcpy(&value, &word, sizeof value);
  return value;
}

/* Where a table begins; the next one begins behind it. Counts are below 2^32 and records below
 * 2^7 bytes, so no sum here comes near 2^64. */
static uint64_t table(uint64_t *end, uint32_t count, uint32_t record) {
  const uint64_t begin = *end;
  *end += (uint64_t)count * record;
  return begin;
}

int tin_read_plan(const void *data, size_t size, struct tin_plan *plan) {
  const uint8_t *at = data;
  if (size < HEADER || memcmp(at, MAGIC, sizeof MAGIC) != 0) return TIN_ERROR_FORMAT;
  if (tin_word_at(at + 8) != VERSION) return TIN_ERROR_VERSION;
  if (size > TIN_MAX_BYTES) return TIN_ERROR_LIMIT;
  if (tin_word_at(at + 12) != size) return TIN_ERROR_FORMAT;
  struct tin_header *h = &plan->header;
  uint32_t *const fields[] = {&h->arena_bytes, &h->tensors, &h->operators, &h->constants,
                              &h->indices,     &h->inputs,  &h->outputs};
  for (size_t i = 0; i < 7; i++) *fields[i] = tin_word_at(at + 16 + 4 * i);
  for (size_t i = 44; i < HEADER; i++) {
    if (at[i] != 0) return TIN_ERROR_FORMAT;
  }
  if (h->tensors > TIN_MAX_COUNT || h->operators > TIN_MAX_COUNT ||
      h->constants > 8 * TIN_MAX_COUNT || h->indices > 4 * TIN_MAX_COUNT ||
      h->arena_bytes > TIN_MAX_BYTES || h->inputs > 32 || h->outputs > 32) {
    return TIN_ERROR_LIMIT;
  }
  if (h->inputs == 0 || h->outputs == 0) return TIN_ERROR_FORMAT;
  uint64_t end = HEADER;
  const uint64_t tensors = table(&end, h->tensors, TENSOR);
  const uint64_t operators = table(&end, h->operators, OPERATOR);
  const uint64_t constants = table(&end, h->constants, CONSTANT);
  const uint64_t ends = table(&end, h->inputs + h->outputs, END);
  const uint64_t indices = table(&end, h->indices, INDEX);
  if (end > size) return TIN_ERROR_FORMAT;
  plan->file = (struct tin_bytes){at, (uint32_t)size};
  plan->tensor_table = at + tensors;
  plan->operator_table = at + operators;
  plan->constant_table = at + constants;
  plan->end_table = at + ends;
  plan->index_table = at + indices;
  return TIN_OK;
}

int tin_read_constant(const struct tin_plan *plan, uint32_t index, struct tin_bytes *bytes) {
  if (index >= plan->header.constants) return TIN_ERROR_CONSTANT;
  const uint8_t *record = plan->constant_table + (size_t)index * CONSTANT;
  const uint32_t offset = tin_word_at(record), count = tin_word_at(record + 4);
  if (offset > plan->file.count || count > plan->file.count - offset) return TIN_ERROR_CONSTANT;
  *bytes = (struct tin_bytes){plan->file.at + offset, count};
  return TIN_OK;
}

/* Whether a number is a scale that no arithmetic here overflows with: 2^-126 to 2^100. */
static int is_scale(float scale) { return scale >= 0x1p-126f && scale <= 0x1p100f; }

int tin_read_tensor(const struct tin_plan *plan, uint32_t index, struct tin_tensor_record *t) {
  const uint8_t *record = plan->tensor_table + (size_t)index * TENSOR;
  struct tin_bytes bytes;
  t->name = tin_word_at(record);
  t->constant = tin_word_at(record + 4);
  t->offset = tin_word_at(record + 8);
  t->rank = tin_word_at(record + 12);
  t->scale = tin_float_at(record + 40);
  t->zero_point = (int32_t)tin_word_at(record + 44);
  if (t->rank > TIN_RANK || !is_scale(t->scale)) return TIN_ERROR_TENSOR;
  if (t->zero_point < -128 || t->zero_point > 127) return TIN_ERROR_TENSOR;
  uint64_t count = 1;
  for (uint32_t i = 0; i < TIN_RANK; i++) {
    t->shape[i] = tin_word_at(record + 16 + 4 * i);
    if (t->shape[i] == 0 || (i < TIN_RANK - t->rank && t->shape[i] != 1)) return TIN_ERROR_TENSOR;
    count *= t->shape[i]; /* below 2^30 * 2^32 */
    if (count > TIN_MAX_BYTES) return TIN_ERROR_LIMIT;
  }
  t->bytes = (uint32_t)count;
  const int status = tin_read_constant(plan, t->name, &bytes);
  if (status != TIN_OK) return status;
  t->data = NULL;
  if (t->constant == TIN_NONE) {
    const uint32_t arena = plan->header.arena_bytes;
    const int fits = t->offset <= arena && t->bytes <= arena - t->offset;
    return fits && t->offset % TIN_ALIGNMENT == 0 ? TIN_OK : TIN_ERROR_TENSOR;
  }
  if (t->offset != 0) return TIN_ERROR_TENSOR;
  const int found = tin_read_constant(plan, t->constant, &bytes);
  if (found != TIN_OK) return found;
  t->data = (const int8_t *)bytes.at;
  return bytes.count == t->bytes ? TIN_OK : TIN_ERROR_CONSTANT;
}

void tin_read_operator(const struct tin_plan *plan, uint32_t index,
                       struct tin_operator_record *op) {
  const uint8_t *record = plan->operator_table + (size_t)index * OPERATOR;
  op->kind = tin_word_at(record);
  op->output = tin_word_at(record + 4);
  op->first_input = tin_word_at(record + 8);
  op->inputs = tin_word_at(record + 12);
  for (size_t i = 0; i < TIN_WORDS; i++) op->words[i] = tin_word_at(record + 16 + 4 * i);
  for (size_t i = 0; i < TIN_CONSTANTS; i++) op->constants[i] = tin_word_at(record + 64 + 4 * i);
}

void tin_read_end(const struct tin_plan *plan, uint32_t index, uint32_t *tensor, uint32_t *name) {
  const uint8_t *record = plan->end_table + (size_t)index * END;
  *tensor = tin_word_at(record);
  *name = tin_word_at(record + 4);
}

uint32_t tin_read_index(const struct tin_plan *plan, uint32_t index) {
  return tin_word_at(plan->index_table + (size_t)index * INDEX);
}
