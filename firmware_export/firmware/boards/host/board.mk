# This machine: the line is standard input and output. For tests and fuzzing.
DEFINES :=
SOURCES := boards/host/host.c
