"""``python -m searcher``."""

from searcher.ui.cli import main

main()
