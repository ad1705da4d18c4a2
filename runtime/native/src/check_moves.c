/* Checks the operators that move codes along any dimension: nothing outside of a tensor is read. */
#include "plan.h"

int tin_check_copy(const struct tin_operator_record *op, const struct tin_tensor_record *in,
                   const struct tin_tensor_record *out, struct tin_copy *copy) {
  uint64_t codes = 1;
  int64_t first = op->words[2 * TIN_LOOPS], last = first;
  for (int i = 0; i < TIN_LOOPS; i++) {
    const uint32_t count = op->words[i];
    const int32_t step = (int32_t)op->words[TIN_LOOPS + i];
    if (count == 0 || count > out->bytes) return TIN_ERROR_SHAPE;
    codes *= count; /* both are at most 2^30 */
    if (codes > out->bytes) return TIN_ERROR_SHAPE;
    const int64_t distance = (int64_t)step * (count - 1);
    if (distance < 0) first += distance;
    if (distance > 0) last += distance;
    copy->counts[i] = (int32_t)count;
    copy->steps[i] = step;
  }
  copy->offset = op->words[2 * TIN_LOOPS];
  return codes == out->bytes && first >= 0 && last < in->bytes ? TIN_OK : TIN_ERROR_SHAPE;
}

int tin_check_concatenate(const struct tin_model *model, const struct tin_operator_record *op,
                          const struct tin_tensor_record *out, uint32_t *axis) {
  if (op->words[0] >= TIN_RANK) return TIN_ERROR_OPERATOR;
  *axis = TIN_RANK - 1 - op->words[0];
  uint64_t size = 0;
  for (uint32_t i = 0; i < op->inputs; i++) {
    const struct tin_tensor_record *in = &model->tensors[model->indices[op->first_input + i]];
    for (uint32_t other = 0; other < TIN_RANK; other++) {
      if (other != *axis && in->shape[other] != out->shape[other]) return TIN_ERROR_SHAPE;
    }
    size += in->shape[*axis];
  }
  return size == out->shape[*axis] ? TIN_OK : TIN_ERROR_SHAPE;
}

int tin_check_gather(const struct tin_plan *plan, const struct tin_operator_record *op,
                     const struct tin_tensor_record *in, const struct tin_tensor_record *out,
                     struct tin_step *step) {
  struct tin_bytes indices;
  if (op->words[0] >= TIN_RANK) return TIN_ERROR_OPERATOR;
  const uint32_t axis = TIN_RANK - 1 - op->words[0], count = out->shape[axis];
  const int status = tin_read_constant(plan, op->constants[0], &indices);
  if (status != TIN_OK) return status;
  if (indices.count != 4 * (uint64_t)count) return TIN_ERROR_CONSTANT;
  for (uint32_t i = 0; i < count; i++) {
    if (tin_word_at(indices.at + 4 * (size_t)i) >= in->shape[axis]) return TIN_ERROR_OPERATOR;
  }
  struct tin_gather *g = &step->as.gather;
  *g = (struct tin_gather){1, count, in->shape[axis], 1, NULL};
  for (uint32_t other = 0; other < TIN_RANK; other++) {
    if (other != axis && in->shape[other] != out->shape[other]) return TIN_ERROR_SHAPE;
    if (other < axis) g->places *= in->shape[other];
    if (other > axis) g->width *= in->shape[other];
  }
  step->words[0] = (struct tin_words){indices.at, count};
  return TIN_OK;
}

int tin_check_embedding(const struct tin_plan *plan, const struct tin_operator_record *op,
                        const struct tin_tensor_record *in, const struct tin_tensor_record *out,
                        struct tin_embedding *embedding) {
  struct tin_bytes table;
  const uint32_t width = out->shape[TIN_RANK - 1], places = out->bytes / width;
  if (in->shape[TIN_RANK - 1] != 2 || in->bytes / 2 != places) return TIN_ERROR_SHAPE;
  const int status = tin_read_constant(plan, op->constants[0], &table);
  if (status != TIN_OK) return status;
  if (table.count == 0 || table.count % width != 0) return TIN_ERROR_CONSTANT;
  *embedding =
      (struct tin_embedding){places, width, table.count / width, (const int8_t *)table.at};
  return TIN_OK;
}
