"""A camera measured on a bench: the bare sensor's photon transfer, then where its mask sits."""
