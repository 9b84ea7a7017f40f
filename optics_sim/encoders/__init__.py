"""What a camera computes after its readout. Loads nothing: the integer encoder runs where there is no torch."""
