#include "board.h"
#include "encoder.h"
#include "session.h"

int main(void)
{
    int byte;
    board_start();
    encoder_reset();
    while ((byte = board_receive()) >= 0) {
        session_byte((uint8_t)byte);
    }
    return 0;
}
