"""Adapters, one a library; no other file imports the library that an adapter holds."""
