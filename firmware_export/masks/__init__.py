"""Mask export: a design's binary pattern as a file that a printer, a mask shop or a board house takes.

`layout` draws the sheet, `formats` writes and reads files, `rules` says what a process cannot print, `stencil`
what would fall out, `export` writes nothing that it has not read back. No torch in this room.
"""
