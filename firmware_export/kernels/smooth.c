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
    int32_t start = 0;
#if KERNEL_SIMD
    for (; start + 2 <= count; start += 2) {
        const int32_t here = word_at(lines[radius] + start);
        int32_t one = __smlabb(here, middle[0], 1 << 14), other = __smlatb(here, middle[0], 1 << 14);
        for (int32_t tap = 1; tap <= radius; tap++) {
            const int32_t above = word_at(lines[radius - tap] + start), below = word_at(lines[radius + tap] + start);
            one = __smlabb(below, middle[tap], __smlabb(above, middle[tap], one));
            other = __smlatb(below, middle[tap], __smlatb(above, middle[tap], other));
        }
        out[start] = (int16_t)(one >> 15);
        out[start + 1] = (int16_t)(other >> 15);
    }
#endif
    for (int32_t index = start; index < count; index++) {
        int32_t total = (1 << 14) + middle[0] * lines[radius][index];
        for (int32_t tap = 1; tap <= radius; tap++)
            total += middle[tap] * (lines[radius - tap][index] + lines[radius + tap][index]);
        out[index] = (int16_t)(total >> 15);
    }
}

void kernel_smooth_along(const smooth_spec *spec, const int8_t *in, int16_t *out)
{
    switch (spec->radius) {
    case 1: smooth_row(spec, in, out, 1); break;
    case 2: smooth_row(spec, in, out, 2); break;
    case 3: smooth_row(spec, in, out, 3); break;
    default: smooth_row(spec, in, out, spec->radius); break;
    }
}

void kernel_smooth_down(const smooth_spec *spec, const int16_t *const *lines, int16_t *out)
{
    switch (spec->radius) {
    case 1: smooth_column(spec, lines, out, 1); break;
    case 2: smooth_column(spec, lines, out, 2); break;
    case 3: smooth_column(spec, lines, out, 3); break;
    default: smooth_column(spec, lines, out, spec->radius); break;
    }
}
