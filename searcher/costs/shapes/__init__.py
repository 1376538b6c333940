"""Operations of a network, predicted from shapes alone."""
