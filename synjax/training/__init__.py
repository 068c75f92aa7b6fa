"""How a run is trained: steps, optimizer, selection, prediction."""
