void kernel_sum(const pair_spec *spec, const int8_t *first, const int8_t *second, int8_t *out)
{
    for (int32_t index = 0, place = 0; index < spec->count; index++, place++) {
        place = place == spec->second_count ? 0 : place;
        const int32_t one = first[index] - spec->first_zero, other = second[place] - spec->second_zero;
        const int32_t total = kernel_scaled(one * (1 << 20), spec->first) +
                              spec->sign * kernel_scaled(other * (1 << 20), spec->second);
        out[index] = (int8_t)kernel_clamped(kernel_scaled(total, spec->total) + spec->out_zero, spec->low, spec->high);
    }
}

void kernel_product(const pair_spec *spec, const int8_t *first, const int8_t *second, int8_t *out)
{
    for (int32_t index = 0, place = 0; index < spec->count; index++, place++) {
        place = place == spec->second_count ? 0 : place;
        const int32_t one = first[index] - spec->first_zero, other = second[place] - spec->second_zero;
        const int32_t product = kernel_scaled(one * other, spec->total) + spec->out_zero;
        out[index] = (int8_t)kernel_clamped(product, spec->low, spec->high);
    }
}
