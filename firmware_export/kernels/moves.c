void kernel_pad(const pad_spec *spec, const int8_t *const *lines, int8_t *out)
{
    memset(out, spec->value, (uint32_t)(spec->out.width * spec->out.channels));
    if (lines[0])
        memcpy(out + spec->left * spec->out.channels, lines[0], (uint32_t)(spec->in.width * spec->in.channels));
}

void kernel_copy(const copy_spec *spec, const int8_t *in, int8_t *out)
{
    for (int32_t x = 0; x < spec->out.width; x++) {
        const int8_t *pixel = in + spec->columns[x] * spec->in.channels;
        for (int32_t channel = 0; channel < spec->in.channels; channel++)
            *out++ = pixel[channel];
    }
}

void kernel_join(int32_t pixels, int32_t channels, int32_t out_channels, const int8_t *in, int8_t *out)
{
    for (int32_t pixel = 0; pixel < pixels; pixel++, out += out_channels)
        for (int32_t channel = 0; channel < channels; channel++)
            out[channel] = *in++;
}
