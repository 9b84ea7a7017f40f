"""What was learned, turned into things one can hold: `masks` (films, photomasks, stencils, prints)."""
