"""Samples in, scores out: the judges of a trial and the features that they keep."""
