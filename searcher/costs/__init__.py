"""What a network costs: its operations, and the rules that score them."""
