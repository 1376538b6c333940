"""Operations of a network, counted while it runs."""
