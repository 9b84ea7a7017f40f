"""Hardware in the loop and the command line: the room that may see all the others."""
