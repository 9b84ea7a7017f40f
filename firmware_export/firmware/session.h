#ifndef SESSION_H
#define SESSION_H

#include <stdint.h>

/* Takes one byte from the line. At the end of a packet that is not empty, exactly one answer has been sent. */
void session_byte(uint8_t byte);

#endif
