"""Sweeps: a specification's trials, laid out in a folder and run side by side."""
