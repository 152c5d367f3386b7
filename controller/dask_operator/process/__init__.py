"""The process: arguments, environment, signals, probes and metrics."""
