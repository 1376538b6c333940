"""A metric that takes as long as SEARCHER_SLEEP says, and no processor time."""

import os
import time

from searcher.execution.measurement import Measurement


def slept(measurement: Measurement) -> float:
    """Sleep; the seconds that were asked for."""
    seconds = float(os.environ.get("SEARCHER_SLEEP", "0"))
    time.sleep(seconds)
    return seconds


METRICS = {"slept": slept}
