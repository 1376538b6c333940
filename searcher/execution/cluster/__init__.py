"""Trials as jobs of a cluster."""
