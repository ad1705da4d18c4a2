/* Bands of output rows, the image that they see, and the tiles that go over them. */
#include "convolution.h"

/* Enough pixels to use a tile's weights well, few enough that their rows stay in the first cache. */
enum { BAND_PIXELS = 48, MOST_WEIGHTS = 1 << 24, MOST_IMAGE_BYTES = 1 << 26 };

/* Output rows in a band: as few as hold BAND_PIXELS, and a multiple of 4 pixels if 3 more rows can
 * make it one, since tiles take 4. */
static int32_t band_rows(const struct tin_product *p) {
  const int32_t least = (BAND_PIXELS - 1) / p->out_w + 1;
  for (int32_t rows = least; rows < least + 4; rows++)
    if (rows * (p->out_w % 4) % 4 == 0) return rows;
  return least;
}

int tin_convolution_serves(const struct tin_product *p) {
  const struct tin_image image = tin_image_of(p);
  const uint64_t weights =
      (uint64_t)p->out_c * p->kernel_h * p->kernel_w * (uint64_t)(p->in_c / p->groups);
  if (weights > MOST_WEIGHTS || (uint64_t)image.width * p->in_c > MOST_IMAGE_BYTES) return 0;
  return (uint64_t)image.height * image.row_bytes <= MOST_IMAGE_BYTES;
}

static size_t image_bytes(const struct tin_step_form *form, const struct tin_image *image) {
  return tin_aligned(image->height * image->row_bytes * form->code_bytes + TIN_IMAGE_SLACK);
}

/* A row of codes, where the image holds int16. */
static size_t narrow_bytes(const struct tin_step_form *form, const struct tin_image *image) {
  return form->code_bytes == 1 ? 0 : tin_aligned(image->row_bytes);
}

size_t tin_convolution_scratch(const struct tin_step_form *form, const struct tin_product *p) {
  const struct tin_image image = tin_image_of(p);
  const size_t pixels = (size_t)band_rows(p) * p->out_w + TIN_BAND_SPARE;
  return image_bytes(form, &image) + narrow_bytes(form, &image) + sizeof(int32_t) * pixels;
}

/* Where the windows of a band begin in the image. */
static void find_windows(const struct tin_step_form *form, const struct tin_product *p,
                         int32_t row, int32_t rows, int32_t *windows) {
  const int32_t pixel = p->in_c * form->code_bytes;
  const int32_t image_row = tin_image_of(p).width * pixel, step = p->stride_w * pixel;
  for (int32_t y = row; y < row + rows; y++) {
    int32_t window = y * p->stride_h * image_row;
    for (int32_t x = 0; x < p->out_w; x++, window += step) *windows++ = window;
  }
  for (int i = 0; i < TIN_BAND_SPARE; i++) windows[i] = windows[-1];
}

/* Writes one row of the image; `narrow` has room for a row of codes, if it holds int16. */
static void write_row(const struct tin_convolution *isa, const struct tin_product *p,
                      const int8_t *in, int32_t row, uint8_t *image, uint8_t *narrow) {
  const size_t bytes = tin_image_of(p).row_bytes;
  uint8_t *to = image + row * bytes * isa->form.code_bytes;
  if (isa->form.code_bytes == 1) {
    tin_image_row(p, in, isa->form.flip, row, to);
  } else {
    tin_image_row(p, in, 0, row, narrow);
    isa->widen((int16_t *)to, narrow, bytes);
  }
}

void tin_convolution_run(const struct tin_convolution *isa, const struct tin_product *p,
                         const void *packed, const int8_t *in, int8_t *out, void *scratch,
                         int32_t row_begin, int32_t row_end) {
  const struct tin_image image = tin_image_of(p);
  uint8_t *const codes = scratch, *const narrow = codes + image_bytes(&isa->form, &image);
  int32_t *const windows = (int32_t *)(narrow + narrow_bytes(&isa->form, &image));
  const int32_t most = band_rows(p), reach = (p->kernel_h - 1) * p->dilation_h + 1;
  int32_t written = row_begin * p->stride_h; /* rows of the image before this one are there */
  for (int32_t row = row_begin; row < row_end; row += most) {
    const int32_t rows = row_end - row < most ? row_end - row : most;
    for (const int32_t needed = (row + rows - 1) * p->stride_h + reach; written < needed; written++)
      write_row(isa, p, in, written, codes, narrow);
    find_windows(&isa->form, p, row, rows, windows);
    const struct tin_band band = {
        codes, windows, rows * p->out_w, p->out_c, p->out_zero, p->out_min, p->out_max,
        out + (size_t)row * p->out_w * p->out_c,
    };
    const struct tin_tile *tile = packed;
    for (int32_t channel = 0; channel < p->out_c; channel += tile->channels,
                 tile = channel < p->out_c ? tin_tile_next(tile) : tile)
      isa->run_tile(tile, &band);
  }
}
