"""Additions to ganbench; importing this imports nothing heavy."""
