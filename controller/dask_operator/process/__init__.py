"""The process around it: arguments, environment, signals, probes and metrics."""
