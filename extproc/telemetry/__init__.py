"""What operators see of the process: counters of every exchange, and the port where they are read."""
