"""The API server: requests, watches and the Lease."""
