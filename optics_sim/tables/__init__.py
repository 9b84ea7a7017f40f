"""The tables of the literature, trained, attacked and judged on the user's data."""
