/* Whether every tensor is read between its writing and its end.
 *
 * The plan is gone through once, as a run will go through it. A tensor is written once, and lives
 * until another is written to a part of its memory. */
#include "plan.h"

enum { NOT_WRITTEN, LIVE, OVERWRITTEN };

static int overlap(const struct tin_tensor_record *one, const struct tin_tensor_record *other) {
  return one->offset < (uint64_t)other->offset + other->bytes &&
         other->offset < (uint64_t)one->offset + one->bytes;
}

/* Operators that read each place before they write it, and nothing of it later. */
static int works_in_place(enum tin_kind kind) {
  return kind == TIN_ADD || kind == TIN_MULTIPLY || kind == TIN_MAXIMUM || kind == TIN_MINIMUM ||
         kind == TIN_TABLE || kind == TIN_RESHAPE || kind == TIN_LAYER_NORM ||
         kind == TIN_NORMALIZE;
}

static int same_place(const struct tin_tensor_record *one, const struct tin_tensor_record *other) {
  return one->offset == other->offset && one->bytes == other->bytes;
}

/* Marks a tensor as written, and those as overwritten whose memory it takes. An operator that does
 * not write (`writes` is 0) overwrites nothing: a reshape in place. */
static int write_tensor(const struct tin_model *model, uint8_t *live, uint32_t index, int writes) {
  const struct tin_tensor_record *tensor = &model->tensors[index];
  if (tensor->data != NULL || live[index] != NOT_WRITTEN) return TIN_ERROR_ORDER;
  for (uint32_t i = 0; writes && i < model->plan.header.tensors; i++) {
    if (live[i] == LIVE && overlap(&model->tensors[i], tensor)) live[i] = OVERWRITTEN;
  }
  live[index] = LIVE;
  return TIN_OK;
}

static int run_step(const struct tin_model *model, uint8_t *live, const struct tin_step *step) {
  const struct tin_tensor_record *output = &model->tensors[step->output];
  int writes = 1;
  for (uint32_t i = 0; i < step->inputs; i++) {
    const uint32_t index = model->indices[step->first_input + i];
    const struct tin_tensor_record *input = &model->tensors[index];
    if (input->data != NULL) continue;
    if (live[index] != LIVE) return TIN_ERROR_ORDER;
    if (!overlap(input, output)) continue;
    if (!works_in_place(step->kind) || !same_place(input, output)) return TIN_ERROR_ORDER;
    if (step->kind == TIN_RESHAPE) writes = 0; /* its memory stays as it is */
  }
  return write_tensor(model, live, step->output, writes);
}

int tin_check_order(const struct tin_model *model, uint8_t *live) {
  const struct tin_header *h = &model->plan.header;
  uint32_t tensor, name;
  for (uint32_t i = 0; i < h->inputs; i++) {
    tin_read_end(&model->plan, i, &tensor, &name);
    const int status = write_tensor(model, live, tensor, 1);
    if (status != TIN_OK) return status;
  }
  for (uint32_t i = 0; i < h->inputs; i++) {
    tin_read_end(&model->plan, i, &tensor, &name);
    if (live[tensor] != LIVE) return TIN_ERROR_ORDER; /* another input lies there */
  }
  for (uint32_t i = 0; i < h->operators; i++) {
    const int status = run_step(model, live, &model->steps[i]);
    if (status != TIN_OK) return status;
  }
  for (uint32_t i = 0; i < h->outputs; i++) {
    tin_read_end(&model->plan, h->inputs + i, &tensor, &name);
    if (live[tensor] != LIVE) return TIN_ERROR_ORDER;
  }
  return TIN_OK;
}
