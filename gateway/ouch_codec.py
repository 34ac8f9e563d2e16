"""OUCH messages to bytes and back, on structs compiled from `gateway.ouch`.

    data = encode(ouch.EnterOrder(1, Side.BUY, 100, b"AAPL    ", 1_850_000, TimeInForce.DAY))
    message = decode_inbound(data)     # a client's message; OuchError says what is wrong with it
    message = decode_outbound(data)    # the exchange's message

An inbound message with an appendage that is not known is refused, because its sender wants what
would not be done. In an outbound one it is skipped, so that an exchange can say more than an
older client understands.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from feed.schema import field_names, struct_format
from gateway import ouch
from gateway.ouch import NO_APPENDAGE, Appendage, Inbound, OuchMessage, Outbound, Tag
from gateway.rejects import GatewayReject

M = TypeVar("M")

_ELEMENT = struct.Struct(">" + struct_format(ouch.ELEMENT))
_TAG_BYTES = 1
_VALUES = {
    tag: struct.Struct(">" + struct_format(value)) for tag, value in ouch.ELEMENT_VALUES.items()
}


class OuchError(ValueError):
    """Bytes that are not the message that they claim to be; `reason` is what a client is told."""

    def __init__(self, reason: GatewayReject, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Layout(NamedTuple, Generic[M]):
    """How one message stands in bytes."""

    name: str
    make: Callable[[Iterable[Any]], M]
    letter: int
    fixed: struct.Struct  # the letter, the fields, and the appendage's length where there is one
    tags: frozenset[Tag] | None  # None where there is no appendage


def _layout(message_type: type[OuchMessage], declaration: Any) -> _Layout[Any]:
    tags = ouch.TAGS.get(message_type)
    expected: tuple[str, ...] = ("type", *message_type._fields)
    if tags is not None:
        expected = (*expected[:-1], "appendage_length")
    if field_names(declaration) != expected:
        raise TypeError(f"{message_type.__name__} and its declaration name different fields")
    fixed = struct.Struct(">" + struct_format(declaration))
    letter = int(declaration.type.subcon.value)
    return _Layout(message_type.__name__, message_type._make, letter, fixed, tags)


_BY_MESSAGE: dict[type[OuchMessage], _Layout[Any]] = {
    message_type: _layout(message_type, declaration)
    for message_type, declaration in (ouch.INBOUND | ouch.OUTBOUND).items()
}
_INBOUND: dict[int, _Layout[Inbound]] = {
    layout.letter: layout for layout in (_BY_MESSAGE[kind] for kind in ouch.INBOUND)
}
_OUTBOUND: dict[int, _Layout[Outbound]] = {
    layout.letter: layout for layout in (_BY_MESSAGE[kind] for kind in ouch.OUTBOUND)
}


def encode(message: OuchMessage) -> bytes:
    """The bytes of a message of either direction.

    Raises struct.error for a number that does not fit its field.
    """
    layout = _BY_MESSAGE[type(message)]
    if layout.tags is None:
        return layout.fixed.pack(layout.letter, *message)
    values: tuple[Any, ...] = message
    *fields, appendage = values
    elements = b"" if appendage == NO_APPENDAGE else _encode_appendage(appendage)
    return layout.fixed.pack(layout.letter, *fields, len(elements)) + elements


def decode_inbound(data: bytes) -> Inbound:
    """The client's message in `data`.

    Raises OuchError when it is of no known type, longer or shorter than it says, or its appendage
    holds what does not belong to it. The fields' values are not judged here.
    """
    return _decode(_INBOUND, data, skips_unknown_tags=False)


def decode_outbound(data: bytes) -> Outbound:
    """The exchange's message in `data`; raises OuchError as `decode_inbound` does."""
    return _decode(_OUTBOUND, data, skips_unknown_tags=True)


def _decode(layouts: Mapping[int, _Layout[M]], data: bytes, *, skips_unknown_tags: bool) -> M:
    layout = layouts.get(data[0]) if data else None
    if layout is None:
        raise OuchError(GatewayReject.UNKNOWN_MESSAGE_TYPE, f"no message begins with {data[:1]!r}")
    name, make, _, fixed, tags = layout
    if len(data) < fixed.size or (tags is None and len(data) > fixed.size):
        raise _length_error(name, data)
    _, *fields = fixed.unpack_from(data)
    if tags is None:
        return make(fields)
    *fields, appendage_length = fields
    if len(data) != fixed.size + appendage_length:
        raise _length_error(name, data)
    appendage = NO_APPENDAGE
    if appendage_length:
        appendage = _decode_appendage(data[fixed.size :], tags, skips_unknown_tags)
    return make((*fields, appendage))


def _length_error(name: str, data: bytes) -> OuchError:
    detail = f"{len(data)} bytes are not what {name} and its appendage come to"
    return OuchError(GatewayReject.INVALID_LENGTH, detail)


def _encode_appendage(appendage: Appendage) -> bytes:
    elements = []
    for tag, value in _VALUES.items():
        field = getattr(appendage, tag.field)
        if field is not None:
            elements.append(_ELEMENT.pack(_TAG_BYTES + value.size, tag) + value.pack(field))
    return b"".join(elements)


def _decode_appendage(data: bytes, tags: frozenset[Tag], skips_unknown_tags: bool) -> Appendage:
    fields: dict[str, int] = {}
    offset = 0
    while offset < len(data):
        if len(data) - offset < _ELEMENT.size:
            raise OuchError(GatewayReject.INVALID_APPENDAGE, "an appendage is cut off")
        length, tag = _ELEMENT.unpack_from(data, offset)
        at, offset = offset + _ELEMENT.size, offset + 1 + length
        if length < _TAG_BYTES or offset > len(data):
            raise OuchError(GatewayReject.INVALID_APPENDAGE, f"no appendage has length {length}")
        if tag not in tags:
            if skips_unknown_tags:
                continue
            raise OuchError(GatewayReject.UNKNOWN_TAG, f"tag {tag} does not belong here")
        known = Tag(tag)
        if length != _TAG_BYTES + _VALUES[known].size:
            raise OuchError(GatewayReject.INVALID_APPENDAGE, f"{known.name} of length {length}")
        if known.field in fields:
            raise OuchError(GatewayReject.DUPLICATE_TAG, f"{known.name} stands twice")
        (fields[known.field],) = _VALUES[known].unpack_from(data, at)
    return Appendage(**fields)
