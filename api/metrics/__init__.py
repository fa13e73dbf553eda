"""What the engine says of itself to Prometheus: counters heard from the log, gauges read from tables and heartbeats."""
