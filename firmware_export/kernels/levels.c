/* Thresholds are at least 2^7 apart, so that at most one lies above the lower end of a step and below the value. */
static inline int8_t level(const levels_spec *spec, int32_t value)
{
    const int8_t code = spec->base[(value >> 7) + 255];
    return (int8_t)(code + (value > spec->edges[code]));
}

void kernel_levels(const levels_spec *spec, const int16_t *value, const int16_t *minus, int8_t *out)
{
    if (minus)
        for (int32_t index = 0; index < spec->count; index++)
            out[index] = level(spec, value[index] - minus[index]);
    else
        for (int32_t index = 0; index < spec->count; index++)
            out[index] = level(spec, value[index]);
}
