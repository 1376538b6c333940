"""A recipe's stages and the libraries that execute them."""
