/* Two channels at a time, `apart` apart in the weights: a pixel is read once for both. */
typedef struct {
    int32_t one, other;
} conv_pair;

/* Adds the products of a run of pixels with the weights. */
static inline conv_pair conv_run(conv_pair totals, const int8_t *weights, int32_t apart, const int8_t *pixels, int32_t count)
{
    const int8_t *others = weights + apart;
    int32_t index = 0;
#if KERNEL_SIMD == 2
    for (; index < count; index += 16) {
        const mve_pred16_t left = vctp8q((uint32_t)(count - index));
        const int8x16_t pixel = vldrbq_z_s8(pixels + index, left);
        totals.one = vmladavaq_s8(totals.one, vldrbq_z_s8(weights + index, left), pixel);
        totals.other = vmladavaq_s8(totals.other, vldrbq_z_s8(others + index, left), pixel);
    }
#elif KERNEL_SIMD == 1
    for (; index + 4 <= count; index += 4) {
        const quad pixel = quad_at(pixels + index), first = quad_at(weights + index), second = quad_at(others + index);
        totals.one = __smlad(first.odd, pixel.odd, __smlad(first.even, pixel.even, totals.one));
        totals.other = __smlad(second.odd, pixel.odd, __smlad(second.even, pixel.even, totals.other));
    }
#endif
    for (; index < count; index++) {
        totals.one += weights[index] * pixels[index];
        totals.other += others[index] * pixels[index];
    }
    return totals;
}

/* The sums where the window hangs over the border, beyond which every stored value is the zero point. */
static conv_pair conv_border(conv_pair totals, const window_spec *spec, const int8_t *const *lines, int32_t start,
                             const int8_t *weights, int32_t apart)
{
    const int32_t channels = spec->in.channels;
    for (int32_t row = 0; row < spec->kernel_height; row++)
        for (int32_t column = 0; column < spec->kernel_width; column++, weights += channels) {
            const int32_t x = start + column * spec->dilation_x;
            if (lines[row] && kernel_inside(x, spec->in.width))
                totals = conv_run(totals, weights, apart, lines[row] + x * channels, channels);
            else
                for (int32_t index = 0; index < channels; index++) {
                    totals.one += weights[index] * spec->in_zero;
                    totals.other += weights[apart + index] * spec->in_zero;
                }
        }
    return totals;
}

static inline conv_pair conv_inside(conv_pair totals, const window_spec *spec, const int8_t *const *lines, int32_t start,
                                    const int8_t *weights, int32_t apart)
{
    const int32_t run = spec->kernel_width * spec->in.channels;
    for (int32_t row = 0; row < spec->kernel_height; row++, weights += run)
        totals = conv_run(totals, weights, apart, lines[row] + start * spec->in.channels, run);
    return totals;
}

static inline int8_t conv_stored(const window_spec *spec, int32_t total, int32_t channel)
{
    return (int8_t)kernel_clamped(kernel_scaled(total, spec->factors[channel]) + spec->out_zero, spec->low, spec->high);
}

static void conv_pixel(const window_spec *spec, const int8_t *const *lines, int32_t start, int inside, int8_t *out)
{
    const int32_t size = spec->kernel_height * spec->kernel_width * spec->in.channels, channels = spec->out.channels;
    const int8_t *weights = spec->weights;
    for (int32_t channel = 0; channel < channels; channel += 2, weights += 2 * size) {
        const int32_t next = channel + 1 < channels ? channel + 1 : channel, apart = next > channel ? size : 0;
        conv_pair totals = {spec->bias[channel], spec->bias[next]};
        if (inside)
            totals = conv_inside(totals, spec, lines, start, weights, apart);
        else
            totals = conv_border(totals, spec, lines, start, weights, apart);
        out[channel] = conv_stored(spec, totals.one, channel);
        out[next] = conv_stored(spec, totals.other, next);
    }
}

void kernel_conv_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out)
{
    int all = spec->dilation_x == 1;
    for (int32_t row = 0; row < spec->kernel_height; row++)
        all = all && lines[row];
    for (int32_t x = 0; x < spec->out.width; x++, out += spec->out.channels) {
        const int32_t start = x * spec->stride_x - spec->left;
        conv_pixel(spec, lines, start, all && start >= 0 && start + spec->kernel_width <= spec->in.width, out);
    }
}
