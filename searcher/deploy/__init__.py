"""From a trial to the files that ship."""
