void kernel_table(const int8_t *table, int32_t count, const int8_t *in, int8_t *out)
{
    for (int32_t index = 0; index < count; index++)
        out[index] = table[in[index] + 128];
}
