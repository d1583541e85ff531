"""Dead letters read again: by the contract and source spec of today, with a recipe, or because a window takes late rows in."""
