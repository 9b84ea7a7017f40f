/* Consistent overhead byte stuffing (Cheshire and Baker, IEEE/ACM Transactions on Networking 7, 1999): a code byte n says that
 * n - 1 bytes without a zero follow, and then a zero, except after n = 255 and at the end. */
#include "cobs.h"

#define LONGEST_RUN 254u

int32_t cobs_decode(uint8_t *data, size_t count)
{
    size_t from = 0;
    size_t to = 0;
    while (from < count) {
        const size_t code = data[from++];
        if (code == 0 || code - 1 > count - from) {
            return -1;
        }
        for (size_t i = 1; i < code; i++) {
            data[to++] = data[from++]; /* `to` is never ahead of `from` */
        }
        if (code <= LONGEST_RUN && from < count) {
            data[to++] = 0;
        }
    }
    return (int32_t)to;
}

static size_t run_length(const uint8_t *data, size_t count)
{
    size_t run = 0;
    while (run < count && run < LONGEST_RUN && data[run] != 0) {
        run++;
    }
    return run;
}

void cobs_send(const uint8_t *data, size_t count, void (*send)(uint8_t byte))
{
    size_t at = 0;
    int open = 1; /* a block is owed: at the start, and after every zero */
    send(0);
    while (open || at < count) {
        const size_t run = run_length(data + at, count - at);
        send((uint8_t)(run + 1));
        for (size_t i = 0; i < run; i++) {
            send(data[at + i]);
        }
        at += run;
        open = run < LONGEST_RUN && at < count;
        at += (size_t)open;
    }
    send(0);
}
