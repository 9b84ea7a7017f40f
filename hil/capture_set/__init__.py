"""Frames on a disk: written so that a kill loses one at most, read with every damage named."""
