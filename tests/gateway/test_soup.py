"""SoupBinTCP packets: bytes fixed by the specification, an independent codec, and hostile bytes."""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from typing import TypeVar

import construct as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nasdaq_protocols import soup as judge  # type: ignore[import-untyped]

from gateway import soup
from gateway.soup import (
    ClientHeartbeat,
    ClientPacket,
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    LoginRequest,
    LogoutRequest,
    Packet,
    PacketReader,
    SequencedData,
    ServerHeartbeat,
    ServerPacket,
    SoupError,
    UnsequencedData,
    client_packets,
    server_packets,
)

P = TypeVar("P", bound=Packet)
LOGIN_REQUEST = LoginRequest("ALICE", "secret", "DEMO", 42)
LOGIN_REQUEST_BYTES = (
    b"\x00\x2fL" + b"ALICE " + b"secret    " + b"DEMO      " + b"                  42"
)


def words(size: int) -> st.SearchStrategy[str]:
    """Texts that fit a field: printable ASCII without a blank at an end, where padding goes."""
    alphabet = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
    return st.text(alphabet, max_size=size)


payloads = st.binary(max_size=soup.PAYLOAD_LIMIT_BYTES)
sequences = st.integers(0, soup.LARGEST_SEQUENCE)
texts = st.text(st.characters(max_codepoint=0x7E), max_size=soup.PAYLOAD_LIMIT_BYTES)
client_packet_lists: st.SearchStrategy[list[ClientPacket]] = st.lists(
    st.one_of(
        st.builds(LoginRequest, words(6), words(10), words(10), sequences),
        st.builds(UnsequencedData, payloads),
        st.builds(Debug, texts),
        st.just(ClientHeartbeat()),
        st.just(LogoutRequest()),
    )
)
server_packet_lists: st.SearchStrategy[list[ServerPacket]] = st.lists(
    st.one_of(
        st.builds(LoginAccepted, words(10), sequences),
        st.builds(LoginRejected, st.sampled_from(LoginRejectReason)),
        st.builds(SequencedData, payloads),
        st.builds(UnsequencedData, payloads),
        st.builds(Debug, texts),
        st.just(ServerHeartbeat()),
        st.just(EndOfSession()),
    )
)


@pytest.mark.parametrize(
    ("packet", "data"),
    [
        (LOGIN_REQUEST, LOGIN_REQUEST_BYTES),
        (LoginAccepted("DEMO", 7), b"\x00\x1fADEMO      " + b"                   7"),
        (LoginRejected(LoginRejectReason.NOT_AUTHORISED), b"\x00\x02JA"),
        (LoginRejected(LoginRejectReason.NO_SUCH_SESSION), b"\x00\x02JS"),
        (SequencedData(b"abc"), b"\x00\x04Sabc"),
        (UnsequencedData(b"abc"), b"\x00\x04Uabc"),
        (Debug("why"), b"\x00\x04+why"),
        (ClientHeartbeat(), b"\x00\x01R"),
        (ServerHeartbeat(), b"\x00\x01H"),
        (LogoutRequest(), b"\x00\x01O"),
        (EndOfSession(), b"\x00\x01Z"),
    ],
)
def test_packets_have_the_bytes_of_the_specification(packet: Packet, data: bytes) -> None:
    assert packet.encode() == data


def test_log_in_packets_have_the_bytes_of_their_declarations() -> None:
    header = soup.HEADER.parse(LOGIN_REQUEST_BYTES)
    body = soup.LOGIN_REQUEST.parse(LOGIN_REQUEST_BYTES[soup.HEADER.sizeof() :])
    fields = cs.Container(
        user=b"ALICE ",
        password=b"secret    ",
        session=b"DEMO      ",
        sequence=b"                  42",
    )
    assert (int(header.type), header.length) == (soup.PacketType.LOGIN_REQUEST, 47)
    assert {name: body[name] for name in fields} == fields


@settings(deadline=None)
@given(client_packet_lists, st.data())
def test_client_packets_come_back_however_the_stream_is_cut(
    packets: list[ClientPacket], data: st.DataObject
) -> None:
    assert taken(client_packets(), packets, data) == packets


@settings(deadline=None)
@given(server_packet_lists, st.data())
def test_server_packets_come_back_however_the_stream_is_cut(
    packets: list[ServerPacket], data: st.DataObject
) -> None:
    assert taken(server_packets(), packets, data) == packets


def taken(reader: PacketReader[P], packets: Sequence[P], data: st.DataObject) -> list[P]:
    stream = b"".join(packet.encode() for packet in packets)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5).map(sorted))
    pieces = [stream[i:j] for i, j in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return [packet for piece in pieces for packet in reader.take(piece)]


def test_packets_that_are_not_drawn_stay_for_the_next_call() -> None:
    reader = client_packets()
    packets = reader.take(UnsequencedData(b"1").encode() + UnsequencedData(b"2").encode())
    assert next(packets) == UnsequencedData(b"1")
    packets.close()
    reader.take(UnsequencedData(b"3").encode()).close()
    assert list(reader.take(b"")) == [UnsequencedData(b"2"), UnsequencedData(b"3")]


def judged(packet: Packet) -> dict[str, object]:
    """The packet's fields as the independent library reads them."""
    _, message = judge.SoupMessage.from_bytes(packet.encode())
    return {"kind": type(message).__name__, **vars(message)}


@settings(deadline=None)
@given(words(6), words(10), words(10), sequences)
def test_an_independent_library_reads_our_log_in_request(
    user: str, password: str, session: str, sequence: int
) -> None:
    assert judged(LoginRequest(user, password, session, sequence)) == {
        "kind": "LoginRequest",
        "user": user,
        "password": password,
        "session": session,
        "sequence": str(sequence),
    }


@settings(deadline=None)
@given(words(10), sequences, st.sampled_from(LoginRejectReason), payloads)
def test_an_independent_library_reads_what_our_server_says(
    session: str, sequence: int, reason: LoginRejectReason, payload: bytes
) -> None:
    reasons = {
        LoginRejectReason.NOT_AUTHORISED: judge.LoginRejectReason.NOT_AUTHORIZED,
        LoginRejectReason.NO_SUCH_SESSION: judge.LoginRejectReason.SESSION_NOT_AVAILABLE,
    }
    assert [
        judged(LoginAccepted(session, sequence)),
        judged(LoginRejected(reason)),
        judged(SequencedData(payload)),
        judged(UnsequencedData(payload)),
        judged(Debug("why")),
        judged(ServerHeartbeat()),
        judged(EndOfSession()),
    ] == [
        {"kind": "LoginAccepted", "session_id": session, "sequence": sequence},
        {"kind": "LoginRejected", "reason": reasons[reason]},
        {"kind": "SequencedData", "data": payload},
        {"kind": "UnSequencedData", "data": payload},
        {"kind": "Debug", "msg": "why"},
        {"kind": "ServerHeartbeat"},
        {"kind": "EndOfSession"},
    ]


@settings(deadline=None)
@given(words(6), words(10), words(10), sequences, payloads)
def test_we_read_what_an_independent_client_says(
    user: str, password: str, session: str, sequence: int, payload: bytes
) -> None:
    messages = [
        judge.LoginRequest(user, password, session, str(sequence)),
        judge.UnSequencedData(payload),
        judge.Debug("why"),
        judge.ClientHeartbeat(),
        judge.LogoutRequest(),
    ]
    stream = b"".join(message.to_bytes()[1] for message in messages)
    assert list(client_packets().take(stream)) == [
        LoginRequest(user, password, session, sequence),
        UnsequencedData(payload),
        Debug("why"),
        ClientHeartbeat(),
        LogoutRequest(),
    ]


def hostile() -> Iterator[tuple[str, bytes]]:
    yield "length 0", b"\x00\x00L"
    yield "a type of the other direction", b"\x00\x01H"
    yield "an unknown type", b"\x00\x01?"
    yield "over the limit", struct.pack(">HB", soup.PAYLOAD_LIMIT_BYTES + 2, ord("U"))
    yield "the longest length", b"\xff\xffU"
    yield "a log-in cut short", b"\x00\x2eL" + LOGIN_REQUEST_BYTES[3:-1]
    yield "a log-in with more", b"\x00\x30L" + LOGIN_REQUEST_BYTES[3:] + b" "
    yield "a sequence of letters", LOGIN_REQUEST_BYTES[:-2] + b"4x"
    yield "a negative sequence", LOGIN_REQUEST_BYTES[:-3] + b"-42"
    yield "a blank sequence", LOGIN_REQUEST_BYTES[:-2] + b"  "
    yield "a sequence beyond counting", LOGIN_REQUEST_BYTES[:-20] + b"9" * 20
    yield "a user that is not ASCII", LOGIN_REQUEST_BYTES.replace(b"ALICE", b"ALIC\xc9")
    yield "a user that is not printable", LOGIN_REQUEST_BYTES.replace(b"ALICE", b"ALIC\n")
    yield "a password that is not ASCII", LOGIN_REQUEST_BYTES.replace(b"secret", b"secre\xff")
    yield "a heartbeat with a payload", b"\x00\x02R!"
    yield "a goodbye with a payload", b"\x00\x02O!"


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in hostile()])
def test_hostile_bytes_are_refused_after_the_packets_before_them(data: bytes) -> None:
    packets = client_packets().take(ClientHeartbeat().encode() + data)
    assert next(packets) == ClientHeartbeat()
    with pytest.raises(SoupError):
        next(packets)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_packets_or_a_soup_error(data: bytes) -> None:
    for reader in (client_packets(), server_packets()):
        with contextlib.suppress(SoupError):
            list(reader.take(data))


def test_bad_answers_of_a_server_are_refused() -> None:
    for data in (b"\x00\x02JX", b"\x00\x01J", b"\x00\x05ADEMO", b"\x00\x02H!", b"\x00\x01R"):
        with pytest.raises(SoupError):
            list(server_packets().take(data))


def test_a_length_is_judged_before_its_payload_has_come() -> None:
    reader = client_packets()
    assert list(reader.take(b"\x00\x03")) == []
    assert list(reader.take(b"U")) == []
    assert list(reader.take(b"ab")) == [UnsequencedData(b"ab")]
    with pytest.raises(SoupError):
        list(reader.take(b"\xff\xffU"))


def test_what_does_not_fit_is_refused_when_it_is_sent() -> None:
    too_long = b"x" * (soup.PAYLOAD_LIMIT_BYTES + 1)
    refused: list[tuple[Packet, str]] = [
        (LoginRequest("ALICE77", "", "", 0), "longer than 6"),
        (LoginRequest("ALICE", "secret66666", "", 0), "longer than 10"),
        (LoginRequest("ALICE", "", "", -1), "not a sequence number"),
        (LoginRequest("ALIC\xc9", "", "", 0), "not printable ASCII"),
        (LoginAccepted("EXCHANGE-NAME", 1), "longer than 10"),
        (LoginAccepted("DEMO", 2**64), "not a sequence number"),
        (SequencedData(too_long), "over 1024"),
        (UnsequencedData(too_long), "over 1024"),
    ]
    for packet, why in refused:
        with pytest.raises(ValueError, match=why):
            packet.encode()


def test_a_debug_text_is_made_to_fit() -> None:
    long = Debug("é" * 1000).encode()
    (packet,) = server_packets().take(long)
    assert isinstance(packet, Debug)
    assert packet.text == ("\\xe9" * 1000)[: soup.PAYLOAD_LIMIT_BYTES]


def test_a_password_does_not_show_in_a_log() -> None:
    assert "secret" not in repr(LOGIN_REQUEST)
    assert "secret" not in str([LOGIN_REQUEST])
