/* Adds to two sums the products of a run of pixels with the weights of two channels, `apart` apart. */
static void conv_run(const int8_t *weights, int32_t apart, const int8_t *pixels, int32_t count, int32_t *totals)
{
    const int8_t *others = weights + apart;
    int32_t one = totals[0], other = totals[1], index = 0;
#if KERNEL_SIMD == 2
    for (; index < count; index += 16) {
        const mve_pred16_t left = vctp8q((uint32_t)(count - index));
        const int8x16_t pixel = vldrbq_z_s8(pixels + index, left);
        one = vmladavaq_s8(one, vldrbq_z_s8(weights + index, left), pixel);
        other = vmladavaq_s8(other, vldrbq_z_s8(others + index, left), pixel);
    }
#elif KERNEL_SIMD == 1
    for (; index + 4 <= count; index += 4) {
        const quad pixel = quad_at(pixels + index), first = quad_at(weights + index), second = quad_at(others + index);
        one = __smlad(first.odd, pixel.odd, __smlad(first.even, pixel.even, one));
        other = __smlad(second.odd, pixel.odd, __smlad(second.even, pixel.even, other));
    }
#endif
    for (; index < count; index++) {
        one += weights[index] * pixels[index];
        other += others[index] * pixels[index];
    }
    totals[0] = one;
    totals[1] = other;
}

/* The sums where the window hangs over the border, beyond which every stored value is the zero point. */
static void conv_border(const window_spec *spec, const int8_t *const *lines, int32_t start, const int8_t *weights, int32_t apart,
                        int32_t *totals)
{
    const int32_t channels = spec->in.channels;
    for (int32_t row = 0; row < spec->kernel_height; row++)
        for (int32_t column = 0; column < spec->kernel_width; column++, weights += channels) {
            const int32_t x = start + column * spec->dilation_x;
            if (lines[row] && kernel_inside(x, spec->in.width))
                conv_run(weights, apart, lines[row] + x * channels, channels, totals);
            else
                for (int32_t index = 0; index < channels; index++) {
                    totals[0] += weights[index] * spec->in_zero;
                    totals[1] += weights[apart + index] * spec->in_zero;
                }
        }
}

static void conv_inside(const window_spec *spec, const int8_t *const *lines, int32_t start, const int8_t *weights, int32_t apart,
                        int32_t *totals)
{
    const int32_t run = spec->kernel_width * spec->in.channels;
    for (int32_t row = 0; row < spec->kernel_height; row++, weights += run)
        conv_run(weights, apart, lines[row] + start * spec->in.channels, run, totals);
}

static void conv_pixel(const window_spec *spec, const int8_t *const *lines, int32_t start, int inside, int8_t *out)
{
    const int32_t size = spec->kernel_height * spec->kernel_width * spec->in.channels, channels = spec->out.channels;
    for (int32_t channel = 0; channel < channels; channel += 2) {
        const int32_t pair = channel + 1 < channels; /* else the last channel is computed twice */
        int32_t totals[2] = {spec->bias[channel], spec->bias[channel + pair]};
        (inside ? conv_inside : conv_border)(spec, lines, start, spec->weights + channel * size, pair * size, totals);
        for (int32_t index = 0; index <= pair; index++) {
            const int32_t total = kernel_scaled(totals[index], spec->factors[channel + index]) + spec->out_zero;
            out[channel + index] = (int8_t)kernel_clamped(total, spec->low, spec->high);
        }
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
