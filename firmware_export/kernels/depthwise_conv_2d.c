/* The sum of one channel; beyond the border every stored value is the zero point. */
static int32_t depthwise_total(const window_spec *spec, const int8_t *const *lines, int32_t start, int32_t channel, int32_t source)
{
    const int8_t *weight = spec->weights + channel;
    int32_t total = spec->bias[channel];
    for (int32_t row = 0; row < spec->kernel_height; row++)
        for (int32_t column = 0; column < spec->kernel_width; column++, weight += spec->out.channels) {
            const int32_t x = start + column * spec->dilation_x;
            const int inside = lines[row] && kernel_inside(x, spec->in.width);
            total += *weight * (inside ? lines[row][x * spec->in.channels + source] : spec->in_zero);
        }
    return total;
}

static inline int8_t depthwise_stored(const window_spec *spec, int32_t total, int32_t channel)
{
    return (int8_t)kernel_clamped(kernel_scaled(total, spec->factors[channel]) + spec->out_zero, spec->low, spec->high);
}

static void depthwise_pixel(const window_spec *spec, const int8_t *const *lines, int32_t start, int32_t channel, int8_t *out)
{
    const int32_t each = spec->out.channels / spec->in.channels;
    for (int32_t source = channel / each; source < spec->in.channels; source++)
        for (int32_t end = (source + 1) * each; channel < end; channel++)
            out[channel] = depthwise_stored(spec, depthwise_total(spec, lines, start, channel, source), channel);
}

#if KERNEL_SIMD
/* Four channels whose window is inside the frame. */
static void depthwise_quad(const window_spec *spec, const int8_t *const *lines, int32_t start, int32_t channel, int8_t *out)
{
    const int32_t channels = spec->in.channels, step = spec->dilation_x * channels;
    const int8_t *weight = spec->weights + channel;
    const int32_t *bias = spec->bias + channel;
    int32_t first = bias[0], second = bias[1], third = bias[2], fourth = bias[3];
    for (int32_t row = 0; row < spec->kernel_height; row++) {
        const int8_t *pixel = lines[row] + start * channels + channel;
        for (int32_t column = 0; column < spec->kernel_width; column++, pixel += step, weight += channels) {
            const quad value = quad_at(pixel), by = quad_at(weight);
            first = __smlabb(value.even, by.even, first);
            second = __smlabb(value.odd, by.odd, second);
            third = __smlatt(value.even, by.even, third);
            fourth = __smlatt(value.odd, by.odd, fourth);
        }
    }
    out[channel] = depthwise_stored(spec, first, channel);
    out[channel + 1] = depthwise_stored(spec, second, channel + 1);
    out[channel + 2] = depthwise_stored(spec, third, channel + 2);
    out[channel + 3] = depthwise_stored(spec, fourth, channel + 3);
}
#endif

void kernel_depthwise_conv_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out)
{
#if KERNEL_SIMD
    int all = spec->in.channels == spec->out.channels;
    for (int32_t row = 0; row < spec->kernel_height; row++)
        all = all && lines[row];
#endif
    for (int32_t x = 0; x < spec->out.width; x++, out += spec->out.channels) {
        const int32_t start = x * spec->stride_x - spec->left;
        int32_t channel = 0;
#if KERNEL_SIMD
        if (all && start >= 0 && start + (spec->kernel_width - 1) * spec->dilation_x < spec->in.width)
            for (; channel + 4 <= spec->out.channels; channel += 4)
                depthwise_quad(spec, lines, start, channel, out);
#endif
        if (channel < spec->out.channels)
            depthwise_pixel(spec, lines, start, channel, out);
    }
}
