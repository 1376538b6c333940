"""The micronet space with blocks of one to three layers, so that a benchmark can afford many trials."""

from searcher.config import catalog
from searcher.config.catalog import roots

_micronet = catalog.load(roots()[-1] / "spaces" / "micronet.py")
vars(_micronet)["DEPTHS"] = {f"dense{number}": 3 for number in (1, 2, 3, 4)}

suggest = _micronet.suggest
