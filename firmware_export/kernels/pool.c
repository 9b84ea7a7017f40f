typedef struct {
    int32_t total, count, greatest;
} pooled;

static pooled pool_value(const window_spec *spec, const int8_t *const *lines, int32_t start, int32_t channel)
{
    pooled found = {0, 0, -128};
    for (int32_t row = 0; row < spec->kernel_height; row++)
        for (int32_t column = 0; column < spec->kernel_width; column++) {
            const int32_t x = start + column;
            if (!lines[row] || !kernel_inside(x, spec->in.width))
                continue;
            const int32_t value = lines[row][x * spec->in.channels + channel];
            found.total += value;
            found.count++;
            found.greatest = value > found.greatest ? value : found.greatest;
        }
    return found;
}

static void pool(const window_spec *spec, const int8_t *const *lines, int8_t *out, int average)
{
    for (int32_t x = 0; x < spec->out.width; x++)
        for (int32_t channel = 0; channel < spec->out.channels; channel++) {
            const pooled found = pool_value(spec, lines, x * spec->stride_x - spec->left, channel);
            const int32_t half = found.total > 0 ? found.count / 2 : -(found.count / 2);
            const int32_t value = average ? (found.total + half) / found.count : found.greatest;
            *out++ = (int8_t)kernel_clamped(value, spec->low, spec->high);
        }
}

void kernel_average_pool_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out)
{
    pool(spec, lines, out, 1);
}

void kernel_max_pool_2d(const window_spec *spec, const int8_t *const *lines, int8_t *out)
{
    pool(spec, lines, out, 0);
}
