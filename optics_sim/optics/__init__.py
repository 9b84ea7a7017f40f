"""Masks, printing, propagation, lenses and the convolution they cause."""
