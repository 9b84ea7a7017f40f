"""What a camera computes after its readout. Empty for now: a lensless design's code is the readout itself."""
