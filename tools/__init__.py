"""Commands behind the Makefile that are no part of an app."""
