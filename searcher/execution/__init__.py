"""One trial, and the processes and jobs that trials run in."""
