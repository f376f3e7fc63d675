"""
Structs are handed to CDK without asking for each of their properties.

For each struct that is an argument of a call, jsii's Python side asks for every property, the many that are not set, too, by a
getter that first builds the property's type. That takes a fifth of the CPU seconds of the Python process in the synth of a
fleet. What the getters return lies in the struct under the same names.
"""

import contextlib
import hashlib
import inspect
from collections.abc import Iterator
from typing import Any, cast

from jsii import _kernel

_stock = getattr(_kernel, "_make_reference_for_native", None)
_KNOWN = "518d31643629080c14e742aa1f7c797af8da0b471c8475e59b0a8e6a81441dca"
"""SHA-256 of the source of jsii's function, which `_serialized` was written beside."""


@contextlib.contextmanager
def structs_handed_over_at_once() -> Iterator[bool]:
    """In the block do it in place of jsii; gives False, and changes nothing, where its code is not the one that this was written for."""
    if _stock is None or hashlib.sha256(inspect.getsource(_stock).encode()).hexdigest() != _KNOWN:
        yield False
        return
    _kernel._make_reference_for_native = cast("Any", _serialized)  # noqa: SLF001 - there is no other way in
    try:
        yield True
    finally:
        _kernel._make_reference_for_native = _stock  # noqa: SLF001 - as above


def _serialized(kernel: _kernel.Kernel, value: Any) -> Any:  # noqa: ANN401 - whatever is given to a construct
    """`value` as jsii sends it to Node."""
    if value is None or type(value) in {str, bool, int, float}:
        return value
    if isinstance(value, dict):
        return {"$jsii.map": {key: _serialized(kernel, each) for key, each in value.items()}}
    if isinstance(value, list):
        return [_serialized(kernel, each) for each in value]
    names = getattr(value, "__jsii_name_mapping__", None)
    if names is None:
        return cast("Any", _stock)(kernel, value)
    properties = value._values  # noqa: SLF001 - as the getters do
    return {
        "$jsii.struct": {
            "fqn": value.__jsii_type__,
            "data": {jsii_name: _serialized(kernel, properties.get(name)) for name, jsii_name in names.items()},
        }
    }
