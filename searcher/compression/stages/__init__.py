"""What a recipe's stages do to a model."""
