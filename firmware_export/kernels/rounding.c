/* Multiplies by a factor and rounds twice: in the high half of the doubled product, halves up (the division cuts towards
 * zero, which the nudge of a negative product allows for), and in the shift, halves away from zero. */
int32_t kernel_scaled(int32_t value, factor by)
{
    const int32_t left = by.shift > 0 ? by.shift : 0, right = by.shift > 0 ? 0 : -by.shift;
    const int64_t product = (int64_t)value * ((int64_t)1 << left) * by.multiplier;
    const int64_t nudge = product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
    const int32_t high = (int32_t)((product + nudge) / ((int64_t)1 << 31));
    const int32_t mask = (int32_t)(((int64_t)1 << right) - 1);
    return (int32_t)((int64_t)high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

int32_t kernel_clamped(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}
