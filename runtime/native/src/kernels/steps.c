/* Weights, cut into tiles and steps, with the steps in groups whose sums stay in int16. */
#include "steps.h"

#include <string.h>

#include "image.h"

enum { MOST_LANES = 32, MOST_TAPS = 4, MOST_VALUES = MOST_LANES * MOST_TAPS, WAITING = 32 };

/* The weights of one step for all lanes of a tile, `int8 (lanes, taps)`. */
struct step {
  int32_t offset;
  int8_t weights[MOST_VALUES];
  uint8_t plus[MOST_VALUES], minus[MOST_VALUES]; /* of each int16 sum: weights > 0, and < 0 */
};

/* A walk over the steps of a tile, in the order of the weights. */
struct walk {
  const struct tin_step_form *form;
  const struct tin_product *p;
  int32_t channel, channels, lanes;
  int32_t place;            /* of the next tap in the weights of a channel */
  int32_t run, in_run;      /* taps that lie beside each other, and those behind already */
};

/* Where a tile's steps go; with `tile` NULL they are only counted. */
struct sink {
  struct tin_tile *tile;
  const struct tin_step_form *form;
  int32_t fours, twos, ones;
};

/* How many taps lie beside each other in the image. */
static int32_t run_length(const struct tin_product *p) {
  const int32_t channels = p->in_c / p->groups;
  if (p->groups != 1 || (p->dilation_w != 1 && p->kernel_w != 1)) return channels;
  const int32_t row = channels * p->kernel_w;
  const int whole_rows = p->dilation_h == 1 && p->kernel_w == tin_image_of(p).width;
  return whole_rows ? row * p->kernel_h : row;
}

/* The place in the image of a tap, from the first pixel of its window. */
static int32_t tap_offset(const struct walk *walk) {
  const struct tin_product *p = walk->p;
  const int32_t channels = p->in_c / p->groups;
  const int32_t group = walk->channel / (p->out_c / p->groups);
  const int32_t kernel_y = walk->place / channels / p->kernel_w;
  const int32_t kernel_x = walk->place / channels % p->kernel_w;
  const int64_t pixel = (int64_t)kernel_y * p->dilation_h * tin_image_of(p).width +
                        (int64_t)kernel_x * p->dilation_w;
  const int64_t code = pixel * p->in_c + (int64_t)group * channels + walk->place % channels;
  return (int32_t)(code * walk->form->code_bytes);
}

/* The channel that a lane holds, from the first one of its tile. */
static int32_t lane_channel(const struct walk *walk, int32_t lane) {
  if (!walk->form->swapped || walk->lanes < 16) return lane;
  return (lane & ~12) | (lane & 4) << 1 | (lane & 8) >> 1;
}

/* Reads the next step. Gives 0 behind the last. */
static int next_step(struct walk *walk, struct step *step) {
  const struct tin_product *p = walk->p;
  const int32_t taps = walk->form->taps;
  const int32_t window = p->kernel_h * p->kernel_w * (p->in_c / p->groups);
  if (walk->place == window) return 0;
  const int32_t left = walk->run - walk->in_run, count = left < taps ? left : taps;
  step->offset = tap_offset(walk);
  memset(step->weights, 0, sizeof step->weights);
  for (int32_t lane = 0; lane < walk->lanes; lane++) {
    const int32_t channel = lane_channel(walk, lane);
    if (channel >= walk->channels) continue;
    const size_t row = (size_t)(walk->channel + channel) * window;
    memcpy(step->weights + lane * taps, p->weights + row + walk->place, (size_t)count);
  }
  walk->place += count;
  walk->in_run = left == count ? 0 : walk->in_run + count;
  return 1;
}

/* How many taps sum in each int16. */
static int32_t taps_in_sum(const struct walk *walk) {
  return walk->form->sums == TIN_SUMS_UNSIGNED ? 2 : 1;
}

static int32_t sums_in_step(const struct walk *walk) {
  return walk->lanes * walk->form->taps / taps_in_sum(walk);
}

/* Whether sums of weights like these stay in int16, whatever the codes. With codes 0..255 the
 * extremes are 255 * plus and -255 * minus; with -128..127 no sum is beyond 128 * (plus + minus). */
static int fits(enum tin_sums sums, int32_t plus, int32_t minus) {
  if (sums == TIN_SUMS_UNSIGNED) return plus <= 128 && minus <= 128;
  return plus + minus <= 255;
}

static void find_sums(const struct walk *walk, struct step *step) {
  const int32_t taps = taps_in_sum(walk), count = sums_in_step(walk);
  for (int32_t i = 0; i < count; i++) {
    int32_t plus = 0, minus = 0;
    for (int32_t tap = 0; tap < taps; tap++) {
      const int32_t weight = step->weights[i * taps + tap];
      if (weight > 0) plus += weight;
      else minus -= weight;
    }
    step->plus[i] = (uint8_t)plus;
    step->minus[i] = (uint8_t)minus;
  }
}

/* Moves what is too much for int16 from `step` to `rest`, both of the same place in the image.
 * Gives 0 if there is nothing to move. Too much are two weights of one sign; the first one stays. */
static int split(const struct walk *walk, struct step *step, struct step *rest) {
  int moved = 0;
  find_sums(walk, step);
  rest->offset = step->offset;
  memset(rest->weights, 0, sizeof rest->weights);
  for (int32_t i = 0; i < sums_in_step(walk); i++) {
    if (fits(walk->form->sums, step->plus[i], step->minus[i])) continue;
    int8_t *second = step->weights + 2 * i + 1;
    const int32_t over = step->plus[i] > 128 ? step->plus[i] - 128 : 128 - step->minus[i];
    rest->weights[2 * i + 1] = (int8_t)over;
    *second = (int8_t)(*second - over);
    moved = 1;
  }
  if (moved) {
    find_sums(walk, step);
    find_sums(walk, rest);
  }
  return moved;
}

/* Whether a group still fits with one more step; if so, adds it to the group's sums. */
static int joins(const struct walk *walk, struct step *group, const struct step *step) {
  const int32_t count = sums_in_step(walk);
  for (int32_t i = 0; i < count; i++) {
    if (!fits(walk->form->sums, group->plus[i] + step->plus[i], group->minus[i] + step->minus[i]))
      return 0;
  }
  for (int32_t i = 0; i < count; i++) {
    group->plus[i] = (uint8_t)(group->plus[i] + step->plus[i]);
    group->minus[i] = (uint8_t)(group->minus[i] + step->minus[i]);
  }
  return 1;
}

static void write_weights(void *to, const int8_t *weights, size_t count, int32_t bytes) {
  int16_t *wide = to;
  if (bytes == 1) memcpy(to, weights, count);
  for (size_t i = 0; bytes == 2 && i < count; i++) wide[i] = weights[i];
}

/* Writes a group of 4, 2 or 1 steps, each kind to its own part of the tile. */
static void write_group(struct sink *sink, const struct step *const *steps, int count) {
  struct tin_tile *tile = sink->tile;
  int32_t *groups = count == 4 ? &sink->fours : count == 2 ? &sink->twos : &sink->ones;
  if (tile != NULL) {
    const int32_t before =
        count == 4 ? 0 : count == 2 ? 4 * tile->fours : 4 * tile->fours + 2 * tile->twos;
    const size_t count_of_weights = (size_t)tile->lanes * tile->taps;
    const size_t size = count_of_weights * sink->form->weight_bytes;
    int32_t *offsets = (int32_t *)tin_tile_offsets(tile) + before + count * *groups;
    int8_t *weights = (int8_t *)tin_tile_weights(tile) + (before + count * *groups) * size;
    for (int i = 0; i < count; i++) {
      offsets[i] = steps[i]->offset;
      write_weights(weights + i * size, steps[i]->weights, count_of_weights,
                    sink->form->weight_bytes);
    }
  }
  *groups += 1;
}

/* Steps that wait for a group. */
struct queue {
  struct step steps[WAITING];
  uint8_t order[WAITING]; /* places of the steps that wait, `count` of them; then of free ones */
  int count;
};

/* Takes the first step of those that wait, and those behind it that go with it, to one group. */
static void take_group(const struct walk *walk, struct queue *queue, struct sink *sink) {
  const struct step *members[4] = {&queue->steps[queue->order[0]]};
  uint8_t places[4] = {queue->order[0]};
  int numbers[4] = {0}, size = 1, kept = 0, member = 0;
  struct step group = *members[0];
  for (int i = 1; i < queue->count && size < 4; i++) {
    const struct step *step = &queue->steps[queue->order[i]];
    if (!joins(walk, &group, step)) continue;
    members[size] = step;
    places[size] = queue->order[i];
    numbers[size++] = i;
  }
  if (size == 3) size = 2;
  write_group(sink, members, size);
  for (int i = 0; i < queue->count; i++) {
    if (member < size && i == numbers[member]) member++;
    else queue->order[kept++] = queue->order[i];
  }
  memcpy(queue->order + kept, places, (size_t)size);
  queue->count = kept;
}

/* Writes, or counts, all steps of a tile. */
static void write_steps(struct walk walk, struct sink *sink) {
  struct queue queue;
  int more = 1;
  queue.count = 0;
  for (int i = 0; i < WAITING; i++) queue.order[i] = (uint8_t)i;
  if (walk.form->sums == TIN_SUMS_INT32) {
    const struct step *one = queue.steps;
    while (next_step(&walk, queue.steps)) write_group(sink, &one, 1);
    return;
  }
  while (more || queue.count > 0) {
    while (more && queue.count + 2 <= WAITING) {
      struct step *const next = &queue.steps[queue.order[queue.count]];
      more = next_step(&walk, next);
      if (more)
        queue.count += 1 + split(&walk, next, &queue.steps[queue.order[queue.count + 1]]);
    }
    if (queue.count > 0) take_group(&walk, &queue, sink);
  }
}

/* Begins the tile at an output channel. Half a tile is enough for the last few channels. */
static struct walk tile_at(const struct tin_step_form *form, const struct tin_product *p,
                           int32_t channel) {
  const int32_t in_group = p->out_c / p->groups;
  const int32_t left = in_group - channel % in_group;
  struct walk walk = {form, p, channel, left, form->lanes, 0, run_length(p), 0};
  if (left > form->lanes) walk.channels = form->lanes;
  if (left <= form->lanes / 2) walk.lanes = form->lanes / 2;
  return walk;
}

static size_t tile_bytes(const struct walk *walk, const struct sink *counted) {
  const size_t steps = 4 * (size_t)counted->fours + 2 * (size_t)counted->twos +
                       (size_t)counted->ones;
  return TIN_ALIGNMENT + 2 * tin_aligned(4 * (size_t)walk->lanes) + tin_aligned(4 * steps) +
         tin_aligned(steps * walk->lanes * walk->form->taps * walk->form->weight_bytes);
}

size_t tin_steps_bytes(const struct tin_step_form *form, const struct tin_product *p) {
  size_t bytes = 0;
  for (int32_t channel = 0; channel < p->out_c;) {
    const struct walk walk = tile_at(form, p, channel);
    struct sink counted = {NULL, form, 0, 0, 0};
    write_steps(walk, &counted);
    bytes += tile_bytes(&walk, &counted);
    if (bytes > INT32_MAX) return 0;
    channel += walk.channels;
  }
  return bytes;
}

uint64_t tin_steps_lanes(const struct tin_step_form *form, const struct tin_product *p) {
  const int one = form->sums == TIN_SUMS_INT32 ? 1 : 2;
  uint64_t lanes = 0;
  for (int32_t channel = 0; channel < p->out_c;) {
    const struct walk walk = tile_at(form, p, channel);
    struct sink counted = {NULL, form, 0, 0, 0};
    write_steps(walk, &counted);
    lanes += (uint64_t)walk.lanes *
             (uint64_t)(5 * counted.fours + 3 * counted.twos + one * counted.ones);
    channel += walk.channels;
  }
  return lanes;
}

/* Bias and scale of each lane. The bias takes the zero point off every product of the window:
 * sum((code - zero) * w) = sum(code * w) - zero * sum(w), where `code` is as the image has it. */
static void write_channels(const struct walk *walk, struct tin_tile *tile) {
  const struct tin_product *p = walk->p;
  const int32_t window = p->kernel_h * p->kernel_w * (p->in_c / p->groups);
  const int32_t zero = walk->form->flip ? p->in_zero + 128 : p->in_zero;
  int32_t *bias = (int32_t *)tin_tile_bias(tile);
  float *scale = (float *)tin_tile_scale(tile);
  for (int32_t lane = 0; lane < walk->lanes; lane++) {
    const int32_t channel = lane_channel(walk, lane);
    bias[lane] = 0;
    scale[lane] = 0;
    if (channel >= walk->channels) continue;
    const int8_t *weights = p->weights + (size_t)(walk->channel + channel) * window;
    const int32_t first = p->bias[walk->channel + channel];
    uint32_t sum = (uint32_t)first, most = 0;
    for (int32_t i = 0; i < window; i++) {
      sum -= (uint32_t)(zero * weights[i]);
      most += (uint32_t)(weights[i] < 0 ? -weights[i] : weights[i]);
    }
    bias[lane] = (int32_t)sum;
    scale[lane] = p->scale[walk->channel + channel];
    most = 255 * most + (first < 0 ? 0 - (uint32_t)first : (uint32_t)first);
    if ((float)most * scale[lane] >= 0x1p30f) tile->far = 1;
  }
}

void tin_steps_pack(const struct tin_step_form *form, const struct tin_product *p, void *packed) {
  struct tin_tile *tile = packed;
  for (int32_t channel = 0; channel < p->out_c;) {
    const struct walk walk = tile_at(form, p, channel);
    struct sink counted = {NULL, form, 0, 0, 0}, sink = {tile, form, 0, 0, 0};
    write_steps(walk, &counted);
    *tile = (struct tin_tile){channel, (int16_t)walk.channels, (int16_t)walk.lanes,
                              (int16_t)form->taps, 0, counted.fours, counted.twos, counted.ones,
                              (int32_t)tile_bytes(&walk, &counted),
                              {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
    write_channels(&walk, tile);
    write_steps(walk, &sink);
    channel += walk.channels;
    tile = (struct tin_tile *)tin_tile_next(tile);
  }
}
