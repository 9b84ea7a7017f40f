/* Integer kernels: int8 frames, 32-bit sums, no float, no memory of their own.
 *
 * Frames are [height][width][channel]. A real value is scale * (stored - zero). Rounding follows TFLite's reference kernels.
 */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdint.h>

/* The code relies on >> of a negative number being a floor, as every compiler for these targets has it. */
typedef char shift_right_is_arithmetic[((-1) >> 1) == -1 ? 1 : -1];

typedef struct {
    int32_t height, width, channels;
} frame_size;

/* A real factor: multiplier * 2^(shift - 31). */
typedef struct {
    int32_t multiplier, shift;
} factor;

/* A window that moves over a frame: convolutions and pools. Weights of a convolution are [out][row][column][in],
 * of a depthwise one [row][column][out]. */
typedef struct {
    frame_size in, out;
    int32_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, above, left;
    int32_t in_zero, out_zero, low, high;
    const int8_t *weights;
    const int32_t *bias;
    const factor *factors;
} window_spec;

/* first + sign * second, each brought to one scale; the second may be one value for each channel. */
typedef struct {
    int32_t count, channels, second_count, sign;
    int32_t first_zero, second_zero, out_zero, low, high;
    factor first, second, total;
} pair_spec;

typedef struct {
    int32_t pixels, channels, in_zero, out_zero, low, high;
    factor total;
} mean_spec;

typedef struct {
    frame_size in, out;
    int32_t above, left, value;
} pad_spec;

/* Each output row and column is a copy of one input row and column: mirrored and repeated borders, nearest neighbours. */
typedef struct {
    frame_size in, out;
    const int16_t *rows, *columns;
} copy_spec;

/* value = low * (1024 - weight) + high * weight, along rows and along columns. */
typedef struct {
    int16_t lower, upper, weight;
} blend;

typedef struct {
    frame_size in, out;
    const blend *rows, *columns;
} resize_spec;

/* The separable Gaussian: weights[radius] is the middle one, all are in 1/2^14. */
typedef struct {
    frame_size size;
    int32_t radius;
    const int16_t *weights;
} smooth_spec;

/* Codes of differences: `base` is the code at the lower end of each step of 2^7, `edges` the thresholds and an end. */
typedef struct {
    int32_t count;
    const int8_t *base;
    const int32_t *edges;
} levels_spec;

int32_t kernel_scaled(int32_t value, factor by);
int32_t kernel_clamped(int32_t value, int32_t low, int32_t high);

void kernel_conv_2d(const window_spec *spec, const int8_t *in, int8_t *out);
void kernel_depthwise_conv_2d(const window_spec *spec, const int8_t *in, int8_t *out);
void kernel_average_pool_2d(const window_spec *spec, const int8_t *in, int8_t *out);
void kernel_max_pool_2d(const window_spec *spec, const int8_t *in, int8_t *out);
void kernel_mean(const mean_spec *spec, const int8_t *in, int8_t *out);
void kernel_sum(const pair_spec *spec, const int8_t *first, const int8_t *second, int8_t *out);
void kernel_product(const pair_spec *spec, const int8_t *first, const int8_t *second, int8_t *out);
void kernel_table(const int8_t *table, int32_t count, const int8_t *in, int8_t *out);
void kernel_pad(const pad_spec *spec, const int8_t *in, int8_t *out);
void kernel_copy(const copy_spec *spec, const int8_t *in, int8_t *out);
void kernel_resize_bilinear(const resize_spec *spec, const int8_t *in, int8_t *out);
void kernel_join(int32_t pixels, int32_t channels, int32_t out_channels, const int8_t *in, int8_t *out);
void kernel_smooth(const smooth_spec *spec, const int8_t *in, int16_t *out, int16_t *rows);
void kernel_levels(const levels_spec *spec, const int16_t *value, const int16_t *minus, int8_t *out);

#endif
