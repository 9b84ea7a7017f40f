/* Integer kernels: int8 frames, 32-bit sums, no float, no memory of their own. Each call makes one row.
 *
 * Rows are [width][channel]. A real value is scale * (stored - zero). Rounding follows TFLite's reference kernels.
 */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdint.h>

/* The code relies on >> of a negative number being a floor, as every compiler for these targets has it. */
typedef char shift_right_is_arithmetic[((-1) >> 1) == -1 ? 1 : -1];

/* Which kernels are compiled: 0 portable C, 1 with the DSP extension's pairs of 16 bits, 2 with Helium, too. All give the
 * same codes. -DKERNEL_SIMD=0 asks for the first. */
#ifndef KERNEL_SIMD
#if defined(__ARM_FEATURE_MVE) && defined(__ARM_FEATURE_DSP) && !defined(__ARM_BIG_ENDIAN)
#define KERNEL_SIMD 2
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && !defined(__ARM_BIG_ENDIAN)
#define KERNEL_SIMD 1
#else
#define KERNEL_SIMD 0
#endif
#endif

/* "portable", "DSP" or "Helium": what was compiled. */
extern const char kernel_kind[];

typedef struct {
    int32_t width, channels;
} line_size;

/* A real factor: multiplier * 2^(shift - 31). */
typedef struct {
    int32_t multiplier, shift;
} factor;

/* A window that moves along rows: convolutions and pools. Weights of a convolution are [out][row][column][in],
 * of a depthwise one [row][column][out]. The bias has in_zero under every weight taken off: sums are of stored values. */
typedef struct {
    line_size in, out;
    int32_t kernel_height, kernel_width, stride_x, dilation_x, left;
    int32_t in_zero, out_zero, low, high;
    const int8_t *weights;
    const int32_t *bias;
    const factor *factors;
} window_spec;

/* first + sign * second, each brought to one scale; the second's values are repeated where it has fewer. */
typedef struct {
    int32_t count, second_count, sign;
    int32_t first_zero, second_zero, out_zero, low, high;
    factor first, second, total;
} pair_spec;

typedef struct {
    int32_t pixels, channels, in_zero, out_zero, low, high;
    factor total;
} mean_spec;

typedef struct {
    line_size in, out;
    int32_t left, value;
} pad_spec;

/* Each output column is a copy of one input column: mirrored and repeated borders, nearest neighbours. */
typedef struct {
    line_size in, out;
    const int16_t *columns;
} copy_spec;

/* value = low * (1024 - weight) + high * weight, along rows and along columns. */
typedef struct {
    int16_t lower, upper, weight;
} blend;

typedef struct {
    line_size in, out;
    const blend *columns;
} resize_spec;

/* The separable Gaussian: weights[radius] is the middle one, all are in 1/2^14. */
typedef struct {
    line_size size;
    int32_t radius;
    const int16_t *weights;
} smooth_spec;

/* Codes of differences: `base` is the code at the lower end of each step of 2^7, `edges` the thresholds and an end. */
typedef struct {
    int32_t count;
    const int8_t *base;
    const int32_t *edges;
} levels_spec;

static inline int32_t kernel_clamped(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

static inline int kernel_inside(int32_t place, int32_t size)
{
    return place >= 0 && place < size;
}

/* Multiplies by a factor and rounds twice: in the high half of the doubled product, halves up, and in the shift, halves away
 * from zero. */
static inline int32_t kernel_scaled(int32_t value, factor by)
{
    const int32_t left = by.shift > 0 ? by.shift : 0, right = by.shift > 0 ? 0 : -by.shift;
    const int64_t product = (int64_t)(value * (1 << left)) * by.multiplier;
    const int32_t high = (int32_t)((product + ((int64_t)1 << 30)) >> 31);
    const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1);
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

/* `lines` are the rows under the window, 0 beyond the border. */
void kernel_conv_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out);
void kernel_depthwise_conv_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out);
void kernel_average_pool_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out);
void kernel_max_pool_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out);
void kernel_mean(const mean_spec *spec, const int8_t *in, int8_t *out);
void kernel_sum(const pair_spec *spec, const int8_t *first, const int8_t *second, int8_t *out);
void kernel_product(const pair_spec *spec, const int8_t *first, const int8_t *second, int8_t *out);
void kernel_table(const int8_t *table, int32_t count, const int8_t *in, int8_t *out);
void kernel_pad(const pad_spec *spec, const int8_t *const *lines, int8_t *out);
void kernel_copy(const copy_spec *spec, const int8_t *in, int8_t *out);
void kernel_resize_bilinear(const resize_spec *spec, const int8_t *low, const int8_t *high, int32_t down, int8_t *out);
void kernel_join(int32_t pixels, int32_t channels, int32_t out_channels, const int8_t *in, int8_t *out);
void kernel_smooth_along(const smooth_spec *spec, const int8_t *in, int16_t *out);
void kernel_smooth_down(const smooth_spec *spec, const int16_t *const *lines, int16_t *out);
void kernel_levels(const levels_spec *spec, const int16_t *value, const int16_t *minus, int8_t *out);

#endif
