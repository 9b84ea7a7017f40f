#if KERNEL_SIMD == 2
#include <arm_mve.h>
const char kernel_kind[] = "Helium";
#elif KERNEL_SIMD == 1
const char kernel_kind[] = "DSP";
#else
const char kernel_kind[] = "portable";
#endif

#if KERNEL_SIMD
#include <arm_acle.h>

/* Four values as two pairs of 16 bits: the even ones and the odd ones. */
typedef struct {
    int16x2_t even, odd;
} quad;

static inline int32_t word_at(const void *place)
{
    int32_t word;
    memcpy(&word, place, sizeof word);
    return word;
}

static inline quad quad_at(const int8_t *place)
{
    const int32_t word = word_at(place);
    quad found = {__sxtb16(word), 0};
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(found.odd) : "r"(word));
    return found;
}
#endif
