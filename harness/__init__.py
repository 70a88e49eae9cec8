"""The composition root: config, data, one trial, its evaluation, tracking, the store, sweeps, the command line."""
