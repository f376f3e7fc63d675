"""A local AWS: the emulator with the patches that this product needs, in a process of its own."""

from local_cloud.emulator.emulator import Emulator

__all__ = ["Emulator"]
