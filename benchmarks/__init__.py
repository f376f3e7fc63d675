"""Speed and size, measured side by side with other ways of doing the same job; run by `make bench`."""
