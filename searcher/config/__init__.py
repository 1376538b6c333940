"""The TOML files, validated."""
