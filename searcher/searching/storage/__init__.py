"""Studies on disk or on a server, and the lock of a study's one driver."""
