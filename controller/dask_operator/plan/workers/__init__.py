"""Policies for a group's workers: how many, which ones leave, when they are replaced."""
