void kernel_pad(const pad_spec *spec, const int8_t *in, int8_t *out)
{
    const uint32_t line = (uint32_t)(spec->in.width * spec->in.channels);
    memset(out, spec->value, (uint32_t)(spec->out.height * spec->out.width * spec->out.channels));
    for (int32_t y = 0; y < spec->in.height; y++, in += line)
        memcpy(out + ((y + spec->above) * spec->out.width + spec->left) * spec->out.channels, in, line);
}

void kernel_copy(const copy_spec *spec, const int8_t *in, int8_t *out)
{
    for (int32_t y = 0; y < spec->out.height; y++) {
        const int8_t *line = in + spec->rows[y] * spec->in.width * spec->in.channels;
        for (int32_t x = 0; x < spec->out.width; x++) {
            const int8_t *pixel = line + spec->columns[x] * spec->in.channels;
            for (int32_t channel = 0; channel < spec->in.channels; channel++)
                *out++ = pixel[channel];
        }
    }
}

void kernel_join(int32_t pixels, int32_t channels, int32_t out_channels, const int8_t *in, int8_t *out)
{
    for (int32_t pixel = 0; pixel < pixels; pixel++, out += out_channels)
        for (int32_t channel = 0; channel < channels; channel++)
            out[channel] = *in++;
}
