"""Attackers who know the design: what each of them may see is its argument."""
