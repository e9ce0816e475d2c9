"""Checks that several suites share."""
