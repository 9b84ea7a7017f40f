#ifndef REQUEST_H
#define REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

struct request {
    uint8_t command; /* 0, as the sequence, where neither can be trusted */
    uint16_t sequence;
    uint16_t length; /* of the payload */
    uint32_t crc;
    const uint8_t *payload;
};

/* Returns whether `encoded`, decoded in place, is a request: STATUS_OK, or the first thing that is wrong with it. */
enum status request_parse(uint8_t *encoded, size_t count, struct request *request);

#endif
