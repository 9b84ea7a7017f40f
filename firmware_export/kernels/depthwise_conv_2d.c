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

static int8_t depthwise_stored(const window_spec *spec, int32_t total, int32_t channel)
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

void kernel_depthwise_conv_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out)
{
    for (int32_t x = 0; x < spec->out.width; x++, out += spec->out.channels)
        depthwise_pixel(spec, lines, x * spec->stride_x - spec->left, 0, out);
}
