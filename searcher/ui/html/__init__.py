"""Pages of one file each, which need nothing from the network."""
