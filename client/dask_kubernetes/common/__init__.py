"""Modules that the classic interface and the operator's shared until 2024."""
