void kernel_mean(const mean_spec *spec, const int8_t *in, int8_t *out)
{
    for (int32_t channel = 0; channel < spec->channels; channel++) {
        int32_t total = 0;
        for (int32_t pixel = 0; pixel < spec->pixels; pixel++)
            total += in[pixel * spec->channels + channel] - spec->in_zero;
        total = kernel_scaled(total, spec->total) + spec->out_zero;
        out[channel] = (int8_t)kernel_clamped(total, spec->low, spec->high);
    }
}
