/* Weights, cut into tiles and steps, with the steps in groups whose sums stay in int16. */
#include "steps.h"

#include <string.h>

#include "image.h"

enum { MOST_LANES = 32, MOST_TAPS = 4, MOST_VALUES = MOST_LANES * MOST_TAPS, WAITING = 32 };

/* The weights of one step for all lanes of a tile, `int8 (lanes, taps)`. */
struct step {
  int32_t offset;
  int8_t weights[MOST_VALUES];
  uint8_t plus[MOST_VALUES], minus[MOST_VALUES]; /* of each int16 sum, see `most_in_sum` */
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

static int32_t window_of(const struct tin_product *p) {
  return p->kernel_h * p->kernel_w * (p->in_c / p->groups);
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

/* Copies at most 4 bytes. A compiler makes one instruction of a size that it knows. */
static void copy_taps(int8_t *to, const int8_t *from, int32_t count) {
  if (count == 4) memcpy(to, from, 4);
  else if (count == 2) memcpy(to, from, 2);
  else memcpy(to, from, (size_t)count);
}

/* Reads the next step. Gives 0 behind the last. */
static int next_step(struct walk *walk, struct step *step) {
  const struct tin_product *p = walk->p;
  const int32_t taps = walk->form->taps;
  const int32_t window = window_of(p);
  if (walk->place == window) return 0;
  const int32_t left = walk->run - walk->in_run, count = left < taps ? left : taps;
  step->offset = tap_offset(walk);
  memset(step->weights, 0, sizeof step->weights);
  for (int32_t lane = 0; lane < walk->lanes; lane++) {
    const int32_t channel = lane_channel(walk, lane);
    if (channel >= walk->channels) continue;
    const size_t row = (size_t)(walk->channel + channel) * window;
    copy_taps(step->weights + lane * taps, p->weights + row + walk->place, count);
  }
  walk->place += count;
  walk->in_run = left == count ? 0 : walk->in_run + count;
  return 1;
}

/* Two taps sum in each int16, or one. */
static int32_t sums_in_step(const struct walk *walk) {
  const int32_t values = walk->lanes * walk->form->taps;
  return walk->form->sums == TIN_SUMS_UNSIGNED ? values / 2 : values;
}

/* What `plus` and `minus` may be for a sum to stay in int16, whatever the codes. With codes 0..255
 * they are its weights > 0 and < 0, and the extremes are 255 * plus and -255 * minus. With codes
 * -128..127 `plus` is all of its weights without sign, and no sum is beyond 128 * plus. */
static uint8_t most_in_sum(const struct walk *walk) {
  return walk->form->sums == TIN_SUMS_UNSIGNED ? 128 : 255;
}

static int32_t positive(int32_t value) { return value > 0 ? value : 0; }

static void find_sums(const struct walk *walk, struct step *step) {
  const int32_t count = sums_in_step(walk);
  const int8_t *weights = step->weights;
  if (walk->form->sums == TIN_SUMS_UNSIGNED) {
    for (int32_t i = 0; i < count; i++) {
      const int32_t one = weights[2 * i], other = weights[2 * i + 1];
      step->plus[i] = (uint8_t)(positive(one) + positive(other));
      step->minus[i] = (uint8_t)(positive(-one) + positive(-other));
    }
  } else {
    for (int32_t i = 0; i < count; i++)
      step->plus[i] = (uint8_t)(positive(weights[i]) + positive(-weights[i]));
    memset(step->minus, 0, (size_t)count);
  }
}

/* Whether one of these numbers is more than what another leaves of `most`. Bytes alone, and no
 * early end: a compiler makes vectors of it. */
static int any_beyond(const uint8_t *numbers, const uint8_t *others, int32_t count, uint8_t most) {
  uint8_t found = 0;
  for (int32_t i = 0; i < count; i++) found |= numbers[i] > (uint8_t)(most - others[i]);
  return found;
}

/* Moves what is too much for int16 from `step` to `rest`, both of the same place in the image.
 * Gives 0 if there is nothing to move. Too much are two weights of one sign; the first one stays. */
static int split(const struct walk *walk, struct step *step, struct step *rest) {
  static const uint8_t nothing[MOST_VALUES];
  const int32_t count = sums_in_step(walk);
  const uint8_t most = most_in_sum(walk);
  find_sums(walk, step);
  if (!any_beyond(step->plus, nothing, count, most) &&
      !any_beyond(step->minus, nothing, count, most))
    return 0;
  rest->offset = step->offset;
  memset(rest->weights, 0, sizeof rest->weights);
  for (int32_t i = 0; i < count; i++) {
    if (step->plus[i] <= most && step->minus[i] <= most) continue;
    int8_t *second = step->weights + 2 * i + 1;
    const int32_t over = step->plus[i] > most ? step->plus[i] - most : most - step->minus[i];
    rest->weights[2 * i + 1] = (int8_t)over;
    *second = (int8_t)(*second - over);
  }
  find_sums(walk, step);
  find_sums(walk, rest);
  return 1;
}

/* Whether a group still fits with one more step; if so, adds it to the group's sums. */
static int joins(const struct walk *walk, struct step *group, const struct step *step) {
  const int32_t count = sums_in_step(walk);
  const uint8_t most = most_in_sum(walk);
  if (any_beyond(step->plus, group->plus, count, most) ||
      any_beyond(step->minus, group->minus, count, most))
    return 0;
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

/* Takes the first step of those that wait, and those behind it that go with it, to one group. Their
 * places are `order`, those that wait first, and their number is given. */
static int take_group(const struct walk *walk, const struct step *places, uint8_t *order, int count,
                      struct sink *sink) {
  const struct step *members[4] = {&places[order[0]]};
  int size = 1, kept = 0, member = 0;
  struct step group = *members[0];
  for (int i = 1; i < count && size < 4; i++) {
    if (joins(walk, &group, &places[order[i]])) members[size++] = &places[order[i]];
  }
  if (size == 3) size = 2;
  write_group(sink, members, size);
  uint8_t taken[4];
  for (int i = 0; i < count; i++) {
    const uint8_t place = order[i];
    if (member < size && &places[place] == members[member]) taken[member++] = place;
    else order[kept++] = place;
  }
  memcpy(order + kept, taken, (size_t)size);
  return kept;
}

/* Writes, or counts, all steps of a tile. */
static void write_steps(struct walk walk, struct sink *sink) {
  struct step places[WAITING];
  uint8_t order[WAITING];
  int count = 0, more = 1;
  if (walk.form->sums == TIN_SUMS_INT32) {
    const struct step *one = places;
    const int32_t taps = walk.form->taps;
    if (sink->tile == NULL) {
      sink->ones = window_of(walk.p) / walk.run * ((walk.run + taps - 1) / taps);
      return;
    }
    while (next_step(&walk, places)) write_group(sink, &one, 1);
    return;
  }
  for (int i = 0; i < WAITING; i++) order[i] = (uint8_t)i;
  while (more || count > 0) {
    while (more && count + 2 <= WAITING) {
      struct step *step = &places[order[count]];
      more = next_step(&walk, step);
      if (more) count += 1 + split(&walk, step, &places[order[count + 1]]);
    }
    if (count > 0) count = take_group(&walk, places, order, count, sink);
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
  const int32_t window = window_of(p);
  const int32_t zero = walk->form->flip ? p->in_zero + 128 : p->in_zero;
  int32_t *bias = (int32_t *)tin_tile_bias(tile);
  float *scale = (float *)tin_tile_scale(tile);
  for (int32_t lane = 0; lane < walk->lanes; lane++) {
    const int32_t channel = lane_channel(walk, lane);
    bias[lane] = 0;
    scale[lane] = 0;
    if (channel >= walk->channels) continue;
    const int8_t *weights = p->weights + (size_t)(walk->channel + channel) * window;
    uint32_t sum = (uint32_t)p->bias[walk->channel + channel];
    for (int32_t i = 0; i < window; i++) sum -= (uint32_t)(zero * weights[i]);
    bias[lane] = (int32_t)sum;
    scale[lane] = p->scale[walk->channel + channel];
  }
}

void tin_steps_pack(const struct tin_step_form *form, const struct tin_product *p, void *packed) {
  struct tin_tile *tile = packed;
  for (int32_t channel = 0; channel < p->out_c;) {
    const struct walk walk = tile_at(form, p, channel);
    struct sink counted = {NULL, form, 0, 0, 0}, sink = {tile, form, 0, 0, 0};
    write_steps(walk, &counted);
    *tile = (struct tin_tile){channel, walk.channels, walk.lanes, form->taps,
                              counted.fours, counted.twos, counted.ones,
                              (int32_t)tile_bytes(&walk, &counted),
                              {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
    write_channels(&walk, tile);
    write_steps(walk, &sink);
    channel += walk.channels;
    tile = (struct tin_tile *)tin_tile_next(tile);
  }
}
