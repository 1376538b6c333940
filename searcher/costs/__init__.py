"""The cost of a network: its operations, and the rules that score them."""
