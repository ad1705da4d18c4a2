/* Checks the parameters of each operator: whatever a kernel relies on. */
#include "plan.h"

#include <math.h>
#include <string.h>

/* What an operator must have: inputs, words and constants. Concatenation has any number of
 * inputs. What it does not have is 0 in the file, or no constant. */
static const struct {
  uint32_t inputs, words, constants;
} FORMS[TIN_KINDS] = {
    [TIN_PRODUCT] = {1, 9, 3},   [TIN_FLOAT_PRODUCT] = {1, 9, 2}, [TIN_ADD] = {2, 3, 0},
    [TIN_MULTIPLY] = {2, 1, 0},  [TIN_MAXIMUM] = {2, 0, 0},       [TIN_TABLE] = {1, 0, 1},
    [TIN_MAX_POOL] = {1, 6, 0},  [TIN_PAD] = {1, 2, 0},           [TIN_CROP] = {1, 2, 0},
    [TIN_UPSAMPLE] = {1, 2, 0},  [TIN_DEPTH_TO_SPACE] = {1, 1, 0}, [TIN_CONCATENATE] = {0, 1, 0},
    [TIN_RESHAPE] = {1, 0, 0},   [TIN_LAYER_NORM] = {1, 2, 2},    [TIN_COPY] = {1, 11, 0},
    [TIN_GATHER] = {1, 1, 1},    [TIN_MATRIX_PRODUCT] = {2, 1, 0}, [TIN_SOFTMAX] = {1, 0, 1},
    [TIN_MINIMUM] = {2, 0, 0},   [TIN_NORMALIZE] = {1, 5, 2},     [TIN_EMBEDDING] = {1, 0, 1},
};

/* What a check looks at: the operator, its tensors, and the step that it fills. */
struct check {
  const struct tin_model *model;
  const struct tin_operator_record *op;
  const struct tin_tensor_record *in, *other, *out; /* the first two inputs */
  struct tin_step *step;
};

/* a * b, or more than any limit if that is more. */
static uint64_t times(uint64_t a, uint64_t b) {
  return b != 0 && a > TIN_MAX_WORK / b ? TIN_MAX_WORK + 1 : a * b;
}

static int has_form(const struct tin_operator_record *op) {
  if (op->kind == 0 || op->kind >= TIN_KINDS) return 0;
  const uint32_t inputs = FORMS[op->kind].inputs;
  if (inputs + FORMS[op->kind].words == 0) return 0; /* no kind has that number */
  if (op->inputs == 0 || (inputs != 0 && op->inputs != inputs)) return 0;
  for (uint32_t i = FORMS[op->kind].words; i < TIN_WORDS; i++) {
    if (op->words[i] != 0) return 0;
  }
  for (uint32_t i = FORMS[op->kind].constants; i < TIN_CONSTANTS; i++) {
    if (op->constants[i] != TIN_NONE) return 0;
  }
  return 1;
}

/* Gives a constant of `count` numbers of `width` bytes. */
static int constant(const struct check *c, uint32_t index, uint64_t count, uint64_t width,
                    const uint8_t **at) {
  struct tin_bytes bytes;
  const int status = tin_read_constant(&c->model->plan, c->op->constants[index], &bytes);
  if (status != TIN_OK) return status;
  *at = bytes.at;
  return times(count, width) == bytes.count ? TIN_OK : TIN_ERROR_CONSTANT;
}

static int all_finite(const uint8_t *at, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) {
    if (!isfinite(tin_float_at(at + 4 * i))) return 0;
  }
  return 1;
}

/* Rows, columns and channels are the last three dimensions; there are no others. */
static int is_image(const struct tin_tensor_record *t) {
  return t->shape[0] == 1 && t->shape[1] == 1 && t->shape[2] == 1;
}

static int same_shape(const struct tin_tensor_record *one, const struct tin_tensor_record *other) {
  return memcmp(one->shape, other->shape, sizeof one->shape) == 0;
}

/* Whether a window moves within bounds that no sum of rows or columns leaves. */
static int window_fits(uint64_t outputs, uint64_t kernel, uint64_t stride, uint64_t dilation,
                       uint64_t pad) {
  return kernel >= 1 && stride >= 1 && dilation >= 1 && pad < 1 << 15 &&
         times(kernel - 1, dilation) < 1 << 15 && times(outputs - 1, stride) < 1 << 24;
}

/* The sums of a channel fit into int32 whatever the input, and its scale is below 256. */
static int channel_is_exact(const int8_t *weights, uint64_t count, const uint8_t *bias_at,
                            const uint8_t *scale_at) {
  const int64_t bias = (int32_t)tin_word_at(bias_at);
  const float scale = tin_float_at(scale_at);
  uint64_t sum = 0;
  uint8_t lowest = 0;
  for (uint64_t i = 0; i < count; i++) { /* no early end: a compiler makes vectors of it */
    lowest |= weights[i] == -128;
    sum += (uint32_t)(weights[i] < 0 ? -weights[i] : weights[i]);
  }
  sum = 255 * sum + (uint64_t)(bias < 0 ? -bias : bias);
  return !lowest && sum <= INT32_MAX && scale >= 0 && scale < 256;
}

/* A stride between windows, or a dilation between taps; 1 if there is one window or tap alone. */
static int32_t used(uint32_t distance, uint32_t count) {
  return count == 1 ? 1 : (int32_t)distance;
}

static int check_product(const struct check *c) {
  const uint32_t *w = c->op->words, *in = c->in->shape, *out = c->out->shape;
  if (!is_image(c->in) || !is_image(c->out)) return TIN_ERROR_SHAPE;
  if (!window_fits(out[3], w[0], w[2], w[4], w[6])) return TIN_ERROR_OPERATOR;
  if (!window_fits(out[4], w[1], w[3], w[5], w[7])) return TIN_ERROR_OPERATOR;
  const uint32_t groups = w[8];
  if (groups == 0 || in[5] % groups != 0 || out[5] % groups != 0) return TIN_ERROR_OPERATOR;
  const uint64_t taps = times(times(w[0], w[1]), in[5] / groups);
  c->step->work = times(c->out->bytes, taps);
  struct tin_product *p = c->op->kind == TIN_PRODUCT ? &c->step->as.product
                                                     : &c->step->as.float_product.shape;
  *p = (struct tin_product){
      (int32_t)in[3],  (int32_t)in[4],  (int32_t)in[5],  (int32_t)out[3],
      (int32_t)out[4], (int32_t)out[5], (int32_t)w[0],   (int32_t)w[1],
      used(w[2], out[3]), used(w[3], out[4]), used(w[4], w[0]), used(w[5], w[1]),
      (int32_t)w[6],   (int32_t)w[7],   (int32_t)groups, c->in->zero_point,
      c->out->zero_point, -128, 127, NULL, NULL, NULL,
  };
  const uint64_t width = c->op->kind == TIN_PRODUCT ? 1 : 4;
  const uint8_t *weights;
  int status = constant(c, 0, times(out[5], taps), width, &weights);
  if (status != TIN_OK) return status;
  struct tin_words *words = c->step->words;
  words[1].count = out[5];
  status = constant(c, 1, out[5], 4, &words[1].at);
  if (status != TIN_OK) return status;
  if (c->op->kind == TIN_FLOAT_PRODUCT) {
    words[0] = (struct tin_words){weights, out[5] * taps};
    c->step->as.float_product.in_scale = c->in->scale;
    c->step->as.float_product.out_scale = c->out->scale;
    c->step->work = times(c->step->work, 4);
    return all_finite(weights, words[0].count) && all_finite(words[1].at, out[5])
               ? TIN_OK : TIN_ERROR_WEIGHTS;
  }
  p->weights = (const int8_t *)weights;
  words[0].count = out[5];
  status = constant(c, 2, out[5], 4, &words[0].at);
  for (uint64_t m = 0; status == TIN_OK && m < out[5]; m++) {
    if (!channel_is_exact(p->weights + m * taps, taps, words[1].at + 4 * m, words[0].at + 4 * m)) {
      status = TIN_ERROR_WEIGHTS;
    }
  }
  return status;
}

/* How many elements it is from one place of an input to the next, for each place of the output. */
static int steps_of(const struct tin_tensor_record *in, const struct tin_tensor_record *out,
                    int32_t *steps) {
  int32_t step = 1;
  for (int axis = TIN_RANK - 1; axis >= 0; axis--) {
    if (in->shape[axis] != out->shape[axis] && in->shape[axis] != 1) return TIN_ERROR_SHAPE;
    steps[axis] = in->shape[axis] == 1 ? 0 : step;
    step *= (int32_t)in->shape[axis]; /* the tensor has below 2^31 bytes */
  }
  return TIN_OK;
}

static int check_pair(const struct check *c) {
  const uint32_t *w = c->op->words;
  struct tin_pair *p = &c->step->as.pair;
  for (int i = 0; i < TIN_RANK; i++) p->shape[i] = (int32_t)c->out->shape[i];
  p->one_zero = c->in->zero_point;
  p->other_zero = c->other->zero_point;
  p->out_zero = c->out->zero_point;
  if (c->op->kind == TIN_ADD) {
    if (w[0] > 1 << 21 || w[1] > 1 << 21 || w[2] < 13 || w[2] > 30) return TIN_ERROR_OPERATOR;
    p->one_factor = (int32_t)w[0];
    p->other_factor = (int32_t)w[1];
    p->shift = (int32_t)w[2];
  }
  if (c->op->kind == TIN_MULTIPLY) {
    memcpy(&p->scale, &w[0], sizeof p->scale);
    if (!(p->scale >= 0 && p->scale < 256)) return TIN_ERROR_OPERATOR;
  }
  const int status = steps_of(c->in, c->out, p->one_step);
  return status != TIN_OK ? status : steps_of(c->other, c->out, p->other_step);
}

/* An operator that goes over the rows and columns of an image. */
static int check_window(const struct check *c) {
  const uint32_t *w = c->op->words, *in = c->in->shape, *out = c->out->shape;
  const uint64_t kernel_h = w[0], kernel_w = w[1];
  if (!is_image(c->in) || !is_image(c->out)) return TIN_ERROR_SHAPE;
  struct tin_window *window = &c->step->as.window;
  *window = (struct tin_window){(int32_t)in[3],  (int32_t)in[4], (int32_t)out[3],
                                (int32_t)out[4], (int32_t)out[5], 1, 1, 1, 1, 0, 0,
                                c->out->zero_point};
  int fits = in[5] == out[5];
  if (c->op->kind == TIN_MAX_POOL) {
    if (!window_fits(out[3], w[0], w[2], 1, w[4])) return TIN_ERROR_OPERATOR;
    if (!window_fits(out[4], w[1], w[3], 1, w[5])) return TIN_ERROR_OPERATOR;
    window->stride_h = (int32_t)w[2];
    window->stride_w = (int32_t)w[3];
    c->step->work = times(c->out->bytes, kernel_h * kernel_w);
  } else if (c->op->kind == TIN_PAD) {
    fits = fits && (uint64_t)w[0] + in[3] <= out[3] && (uint64_t)w[1] + in[4] <= out[4];
  } else if (c->op->kind == TIN_CROP) {
    fits = fits && (uint64_t)w[0] + out[3] <= in[3] && (uint64_t)w[1] + out[4] <= in[4];
  } else if (c->op->kind == TIN_UPSAMPLE) {
    fits = fits && in[3] * kernel_h == out[3] && in[4] * kernel_w == out[4];
  } else {
    fits = in[3] * kernel_h == out[3] && in[4] * kernel_h == out[4] &&
           times(times(out[5], kernel_h), kernel_h) == in[5];
  }
  if (!fits) return TIN_ERROR_SHAPE;
  const int is_pool = c->op->kind == TIN_MAX_POOL;
  const int has_offset = c->op->kind == TIN_PAD || c->op->kind == TIN_CROP;
  if (!has_offset) {
    window->kernel_h = (int32_t)w[0];
    window->kernel_w = (int32_t)w[1];
  }
  window->top = is_pool ? (int32_t)w[4] : has_offset ? (int32_t)w[0] : 0;
  window->left = is_pool ? (int32_t)w[5] : has_offset ? (int32_t)w[1] : 0;
  return TIN_OK;
}

static int check_norm(const struct check *c) {
  if (!same_shape(c->in, c->out)) return TIN_ERROR_SHAPE;
  const uint32_t channels = c->out->shape[TIN_RANK - 1], places = c->out->bytes / channels;
  const int is_layer = c->op->kind == TIN_LAYER_NORM;
  const uint32_t rows = is_layer ? 1 : c->op->words[2], groups = is_layer ? 1 : c->op->words[3];
  const uint32_t centered = is_layer ? 1 : c->op->words[4];
  if (rows == 0 || groups == 0 || centered > 1) return TIN_ERROR_OPERATOR;
  if (places % rows != 0 || channels % groups != 0) return TIN_ERROR_SHAPE;
  struct tin_norm *n = &c->step->as.norm;
  *n = (struct tin_norm){places / rows, rows, groups, channels / groups, (int)centered,
                         c->in->zero_point, c->out->zero_point, c->in->scale, c->out->scale,
                         0, NULL, NULL};
  const uint64_t bits = c->op->words[0] | (uint64_t)c->op->words[1] << 32;
  memcpy(&n->epsilon, &bits, sizeof bits);
  if (!(n->epsilon > 0 && n->epsilon <= 1e30)) return TIN_ERROR_OPERATOR;
  for (uint32_t i = 0; i < 2; i++) {
    struct tin_words *words = &c->step->words[i];
    words->count = channels;
    const int status = constant(c, i, channels, 4, &words->at);
    if (status != TIN_OK) return status;
    if (!all_finite(words->at, channels)) return TIN_ERROR_WEIGHTS;
  }
  c->step->work = times(c->out->bytes, 8);
  return TIN_OK;
}

/* How many elements it is from one matrix of an input to the next, for each of the output's. */
static int matrix_steps(const struct tin_tensor_record *in, const struct tin_tensor_record *out,
                        int32_t *steps) {
  int32_t step = (int32_t)(in->shape[TIN_RANK - 2] * in->shape[TIN_RANK - 1]);
  for (int axis = TIN_RANK - 3; axis >= 0; axis--) {
    if (in->shape[axis] != out->shape[axis] && in->shape[axis] != 1) return TIN_ERROR_SHAPE;
    steps[axis] = in->shape[axis] == 1 ? 0 : step;
    step *= (int32_t)in->shape[axis];
  }
  return TIN_OK;
}

static int check_matrix_product(const struct check *c) {
  const uint32_t *one = c->in->shape, *other = c->other->shape, *out = c->out->shape;
  const int rows = TIN_RANK - 2, columns = TIN_RANK - 1;
  struct tin_matrix_product *p = &c->step->as.matrix_product;
  *p = (struct tin_matrix_product){
      .rows = (int32_t)out[rows],
      .inner = (int32_t)one[columns],
      .columns = (int32_t)out[columns],
      .one_zero = c->in->zero_point,
      .other_zero = c->other->zero_point,
      .out_zero = c->out->zero_point,
  };
  memcpy(&p->scale, &c->op->words[0], sizeof p->scale);
  if (!(p->scale >= 0 && p->scale < 256)) return TIN_ERROR_OPERATOR;
  if (one[rows] != out[rows] || one[columns] != other[rows] || other[columns] != out[columns]) {
    return TIN_ERROR_SHAPE;
  }
  if (255 * 255 * (uint64_t)one[columns] > INT32_MAX) return TIN_ERROR_OPERATOR;
  for (int axis = 0; axis < TIN_RANK - 2; axis++) p->shape[axis] = (int32_t)out[axis];
  c->step->work = times(c->out->bytes, one[columns]);
  const int status = matrix_steps(c->in, c->out, p->one_step);
  return status != TIN_OK ? status : matrix_steps(c->other, c->out, p->other_step);
}

static int check_softmax(const struct check *c) {
  enum { CODES = 256, MOST_CHANNELS = 1 << 20, ONE = 1 << 23 };
  const uint32_t channels = c->out->shape[TIN_RANK - 1];
  struct tin_words *words = &c->step->words[0];
  if (!same_shape(c->in, c->out)) return TIN_ERROR_SHAPE;
  if (channels > MOST_CHANNELS) return TIN_ERROR_OPERATOR;
  c->step->as.softmax = (struct tin_softmax){c->out->bytes / channels, channels, NULL};
  c->step->work = times(c->out->bytes, 8);
  words->count = CODES;
  const int status = constant(c, 0, CODES, 4, &words->at);
  if (status != TIN_OK) return status;
  for (int i = 0; i < CODES; i++) {
    if (tin_word_at(words->at + 4 * i) > ONE) return TIN_ERROR_WEIGHTS;
  }
  return tin_word_at(words->at) == ONE ? TIN_OK : TIN_ERROR_WEIGHTS;
}

static int check_table(const struct check *c) {
  const uint8_t *table;
  if (!same_shape(c->in, c->out)) return TIN_ERROR_SHAPE;
  const int status = constant(c, 0, 256, 1, &table);
  if (status == TIN_OK) c->step->as.table = (const int8_t *)table;
  return status;
}

static int check_parameters(const struct check *c) {
  switch (c->step->kind) {
    case TIN_PRODUCT:
    case TIN_FLOAT_PRODUCT:
      return check_product(c);
    case TIN_ADD:
    case TIN_MULTIPLY:
    case TIN_MAXIMUM:
    case TIN_MINIMUM:
      return check_pair(c);
    case TIN_TABLE:
      return check_table(c);
    case TIN_CONCATENATE:
      return tin_check_concatenate(c->model, c->op, c->out, &c->step->as.axis);
    case TIN_RESHAPE:
      return c->in->bytes == c->out->bytes ? TIN_OK : TIN_ERROR_SHAPE;
    case TIN_LAYER_NORM:
    case TIN_NORMALIZE:
      return check_norm(c);
    case TIN_COPY:
      return tin_check_copy(c->op, c->in, c->out, &c->step->as.copy);
    case TIN_EMBEDDING:
      return tin_check_embedding(&c->model->plan, c->op, c->in, c->out, &c->step->as.embedding);
    case TIN_GATHER:
      return tin_check_gather(&c->model->plan, c->op, c->in, c->out, c->step);
    case TIN_MATRIX_PRODUCT:
      return check_matrix_product(c);
    case TIN_SOFTMAX:
      return check_softmax(c);
    default:
      return check_window(c);
  }
}

int tin_check_operator(const struct tin_model *model, const struct tin_operator_record *op,
                       struct tin_step *step) {
  const struct tin_header *h = &model->plan.header;
  if (!has_form(op)) return TIN_ERROR_OPERATOR;
  if (op->output >= h->tensors || op->first_input > h->indices ||
      op->inputs > h->indices - op->first_input) {
    return TIN_ERROR_OPERATOR;
  }
  const uint32_t *inputs = model->indices + op->first_input;
  for (uint32_t i = 0; i < op->inputs; i++) {
    const int is_constant = model->tensors[inputs[i]].data != NULL;
    if (is_constant && op->kind != TIN_MULTIPLY) return TIN_ERROR_OPERATOR;
  }
  step->kind = (enum tin_kind)op->kind;
  step->output = op->output;
  step->first_input = op->first_input;
  step->inputs = op->inputs;
  step->work = model->tensors[op->output].bytes;
  const struct tin_tensor_record *tensors = model->tensors;
  const struct check c = {model, op, &tensors[inputs[0]], &tensors[inputs[op->inputs - 1]],
                          &tensors[op->output], step};
  return check_parameters(&c);
}
