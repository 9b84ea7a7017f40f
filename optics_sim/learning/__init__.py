"""Recognisers, losses and the joint training of optics and recogniser."""
