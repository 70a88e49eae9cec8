"""The theory bench: games small enough for their outcome to be known, measured seed by seed and shown against it."""
