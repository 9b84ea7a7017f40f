/* The sum where the window hangs over the border, whose pixel is repeated. */
static int16_t smooth_border(const smooth_spec *spec, const int8_t *in, int32_t index)
{
    const int32_t step = spec->size.channels, count = spec->size.width * step;
    int32_t total = 1 << 5;
    for (int32_t tap = -spec->radius; tap <= spec->radius; tap++) {
        const int32_t place = index + tap * step;
        const int32_t held = place < 0 ? index % step : place >= count ? count - step + index % step : place;
        total += spec->weights[spec->radius + tap] * in[held];
    }
    return (int16_t)(total >> 6);
}

/* Called with a constant radius where it is small, so that the compiler unrolls the sum. */
static inline void smooth_row(const smooth_spec *spec, const int8_t *restrict in, int16_t *restrict row, const int32_t radius)
{
    const int32_t step = spec->size.channels, count = spec->size.width * step;
    const int32_t border = kernel_clamped(radius * step, 0, count), far = kernel_clamped(count - border, border, count);
    const int16_t *middle = spec->weights + radius;
    for (int32_t index = 0; index < border; index++)
        row[index] = smooth_border(spec, in, index);
    for (int32_t index = border; index < far; index++) {
        int32_t total = (1 << 5) + middle[0] * in[index];
        for (int32_t tap = 1; tap <= radius; tap++)
            total += middle[tap] * (in[index - tap * step] + in[index + tap * step]);
        row[index] = (int16_t)(total >> 6);
    }
    for (int32_t index = far; index < count; index++)
        row[index] = smooth_border(spec, in, index);
}

static inline void smooth_column(const smooth_spec *spec, const int16_t *const *lines, int16_t *restrict out, const int32_t radius)
{
    const int32_t count = spec->size.width * spec->size.channels;
    const int16_t *middle = spec->weights + radius;
    for (int32_t index = 0; index < count; index++) {
        int32_t total = (1 << 14) + middle[0] * lines[radius][index];
        for (int32_t tap = 1; tap <= radius; tap++)
            total += middle[tap] * (lines[radius - tap][index] + lines[radius + tap][index]);
        out[index] = (int16_t)(total >> 15);
    }
}

/* `rows` holds the 2 * radius + 1 latest rows: row y lies at place y modulo that. */
static inline void smooth(const smooth_spec *spec, const int8_t *in, int16_t *out, int16_t *rows, const int32_t radius)
{
    const int32_t count = spec->size.width * spec->size.channels, window = 2 * radius + 1, last = spec->size.height - 1;
    const int16_t *lines[31];
    int32_t ready = 0;
    for (int32_t y = 0; y <= last; y++) {
        for (; ready <= last && ready <= y + radius; ready++)
            smooth_row(spec, in + ready * count, rows + (ready % window) * count, radius);
        for (int32_t place = 0; place < window; place++)
            lines[place] = rows + (kernel_clamped(y + place - radius, 0, last) % window) * count;
        smooth_column(spec, lines, out + y * count, radius);
    }
}

void kernel_smooth(const smooth_spec *spec, const int8_t *in, int16_t *out, int16_t *rows)
{
    switch (spec->radius) {
    case 1: smooth(spec, in, out, rows, 1); break;
    case 2: smooth(spec, in, out, rows, 2); break;
    case 3: smooth(spec, in, out, rows, 3); break;
    default: smooth(spec, in, out, rows, spec->radius); break;
    }
}
