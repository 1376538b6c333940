"""The stages that come with searcher as a recipe has them, a file each."""
