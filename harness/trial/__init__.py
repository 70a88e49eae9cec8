"""One trial, from its config to its scores: the game, its checkpoints, its health and how it ends."""
