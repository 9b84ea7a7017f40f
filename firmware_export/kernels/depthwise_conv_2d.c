static int8_t depthwise_value(const window_spec *spec, const int8_t *in, int32_t top, int32_t start, int32_t channel)
{
    const int32_t source = channel / (spec->out.channels / spec->in.channels);
    int32_t total = spec->bias[channel];
    for (int32_t row = 0; row < spec->kernel_height; row++) {
        const int32_t y = top + row * spec->dilation_y;
        if (y < 0 || y >= spec->in.height)
            continue;
        for (int32_t column = 0; column < spec->kernel_width; column++) {
            const int32_t x = start + column * spec->dilation_x;
            if (x < 0 || x >= spec->in.width)
                continue;
            total += spec->weights[(row * spec->kernel_width + column) * spec->out.channels + channel] *
                     (in[(y * spec->in.width + x) * spec->in.channels + source] - spec->in_zero);
        }
    }
    total = kernel_scaled(total, spec->factors[channel]) + spec->out_zero;
    return (int8_t)kernel_clamped(total, spec->low, spec->high);
}

void kernel_depthwise_conv_2d(const window_spec *spec, const int8_t *in, int8_t *out)
{
    for (int32_t y = 0; y < spec->out.height; y++)
        for (int32_t x = 0; x < spec->out.width; x++)
            for (int32_t channel = 0; channel < spec->out.channels; channel++)
                *out++ = depthwise_value(spec, in, y * spec->stride_y - spec->above, x * spec->stride_x - spec->left, channel);
}
