#ifndef COMMANDS_H
#define COMMANDS_H

#include "protocol.h"
#include "request.h"

/* Does what a request asks and appends to the answer that was begun; returns the answer's status. */
enum status commands_run(const struct request *request);

/* Count, for the statistics, what became of a request. */
void commands_count(enum status status);
void commands_count_repeat(void);

#endif
