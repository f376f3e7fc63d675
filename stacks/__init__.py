"""The stacks of an environment, and the settings that they are made from."""
