"""A run mirrored to Weights & Biases: the tracker, its journal, and the client and server that it talks to."""
