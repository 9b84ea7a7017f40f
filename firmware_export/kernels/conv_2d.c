static void conv_pixel(const window_spec *spec, const int8_t *in, int32_t top, int32_t start, int8_t *out)
{
    const int32_t channels = spec->in.channels;
    const int8_t *weights = spec->weights;
    for (int32_t channel = 0; channel < spec->out.channels; channel++) {
        int32_t total = spec->bias[channel];
        for (int32_t row = 0; row < spec->kernel_height; row++) {
            const int32_t y = top + row * spec->dilation_y;
            for (int32_t column = 0; column < spec->kernel_width; column++, weights += channels) {
                const int32_t x = start + column * spec->dilation_x;
                if (y < 0 || y >= spec->in.height || x < 0 || x >= spec->in.width)
                    continue;
                const int8_t *pixel = in + (y * spec->in.width + x) * channels;
                for (int32_t index = 0; index < channels; index++)
                    total += weights[index] * (pixel[index] - spec->in_zero);
            }
        }
        total = kernel_scaled(total, spec->factors[channel]) + spec->out_zero;
        out[channel] = (int8_t)kernel_clamped(total, spec->low, spec->high);
    }
}

void kernel_conv_2d(const window_spec *spec, const int8_t *in, int8_t *out)
{
    for (int32_t y = 0; y < spec->out.height; y++)
        for (int32_t x = 0; x < spec->out.width; x++, out += spec->out.channels)
            conv_pixel(spec, in, y * spec->stride_y - spec->above, x * spec->stride_x - spec->left, out);
}
