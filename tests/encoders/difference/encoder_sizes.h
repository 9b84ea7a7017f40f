/* 32 rows of 36: three chunks, the last of them short. */
#define ENCODER_FRAME_BYTES 1152u
#define ENCODER_CODE_BYTES 1152u
