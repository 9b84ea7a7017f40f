"""A run of `privcam design` on the bench: pictures shown, captured, recognised and attacked, beside the same numbers from both twins."""
