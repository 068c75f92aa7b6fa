"""MM-IMDb in its raw layout."""
