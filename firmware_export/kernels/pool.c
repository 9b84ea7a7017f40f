typedef struct {
    int32_t total, count, greatest;
} pooled;

static pooled pool_value(const window_spec *spec, const int8_t *in, int32_t top, int32_t start, int32_t channel)
{
    pooled found = {0, 0, -128};
    for (int32_t row = 0; row < spec->kernel_height; row++)
        for (int32_t column = 0; column < spec->kernel_width; column++) {
            const int32_t y = top + row, x = start + column;
            if (y < 0 || y >= spec->in.height || x < 0 || x >= spec->in.width)
                continue;
            const int32_t value = in[(y * spec->in.width + x) * spec->in.channels + channel];
            found.total += value;
            found.count++;
            found.greatest = value > found.greatest ? value : found.greatest;
        }
    return found;
}

static void pool(const window_spec *spec, const int8_t *in, int8_t *out, int average)
{
    for (int32_t y = 0; y < spec->out.height; y++)
        for (int32_t x = 0; x < spec->out.width; x++)
            for (int32_t channel = 0; channel < spec->out.channels; channel++) {
                const pooled found = pool_value(spec, in, y * spec->stride_y - spec->above, x * spec->stride_x - spec->left, channel);
                const int32_t half = found.total > 0 ? found.count / 2 : -(found.count / 2);
                const int32_t value = average ? (found.total + half) / found.count : found.greatest;
                *out++ = (int8_t)kernel_clamped(value, spec->low, spec->high);
            }
}

void kernel_average_pool_2d(const window_spec *spec, const int8_t *in, int8_t *out)
{
    pool(spec, in, out, 1);
}

void kernel_max_pool_2d(const window_spec *spec, const int8_t *in, int8_t *out)
{
    pool(spec, in, out, 0);
}
