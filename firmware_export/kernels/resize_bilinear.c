static int8_t blended(const int8_t *low, const int8_t *high, int32_t left, int32_t right, int32_t down, int32_t across)
{
    const int32_t top = low[left] * (1024 - down) + high[left] * down;
    const int32_t bottom = low[right] * (1024 - down) + high[right] * down;
    const int32_t total = top * (1024 - across) + bottom * across;
    return (int8_t)((total + (total > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
}

void kernel_resize_bilinear(const resize_spec *spec, const int8_t *low, const int8_t *high, int32_t down, int8_t *out)
{
    const int32_t channels = spec->in.channels;
    for (int32_t x = 0; x < spec->out.width; x++) {
        const blend column = spec->columns[x];
        for (int32_t channel = 0; channel < channels; channel++)
            *out++ = blended(low + channel, high + channel, column.lower * channels, column.upper * channels, down, column.weight);
    }
}
