"""From photons to electrons to numbers, and the integer readout that follows."""
