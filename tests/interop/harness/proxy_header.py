"""PROXY protocol headers as bytes, right ones and wrong ones."""

import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
SOURCE, SOURCE_PORT = "203.0.113.7", 40_000
SOURCE6 = "2001:db8::7"

V1_TCP4 = f"PROXY TCP4 {SOURCE} 198.51.100.1 {SOURCE_PORT} 5222\r\n".encode()
V1_TCP6 = f"PROXY TCP6 {SOURCE6} 2001:db8::1 {SOURCE_PORT} 5222\r\n".encode()
V1_UNKNOWN = b"PROXY UNKNOWN\r\n"
# The longest header of version 1.
V1_UNKNOWN_LONG = b"PROXY UNKNOWN %s %s 65535 65535\r\n" % (b":".join([b"ffff"] * 8), b":".join([b"ffff"] * 8))

PROXY, LOCAL = 0x21, 0x20
UNSPEC, TCP4, UDP4, TCP6, UNIX_STREAM = 0x00, 0x11, 0x12, 0x21, 0x31
PP2_TYPE_CRC32C, PP2_TYPE_NOOP, PP2_TYPE_AUTHORITY = 0x03, 0x04, 0x02


def v2(command, family, addresses=b"", *tlvs):
    body = addresses + b"".join(tlvs)
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def addresses4():
    return socket.inet_aton(SOURCE) + socket.inet_aton("198.51.100.1") + struct.pack("!HH", SOURCE_PORT, 5222)


def addresses6():
    ends = [socket.inet_pton(socket.AF_INET6, end) for end in (SOURCE6, "2001:db8::1")]
    return b"".join(ends) + struct.pack("!HH", SOURCE_PORT, 5222)


def crc32c(data):
    """Bit by bit; the headers are short."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def v2_with_crc(wrong=0):
    def header(crc):
        return v2(PROXY, TCP4, addresses4(), tlv(PP2_TYPE_CRC32C, struct.pack("!I", crc)))

    # Computed over the header with the field itself zero.
    return header(crc32c(header(0)) ^ wrong)


V2_TCP4 = v2(PROXY, TCP4, addresses4())
V2_TCP6 = v2(PROXY, TCP6, addresses6())
V2_TLVS = v2(
    PROXY, TCP4, addresses4(), tlv(PP2_TYPE_AUTHORITY, b"localhost"), tlv(PP2_TYPE_NOOP, bytes(300))
)
V2_LOCAL = v2(LOCAL, UNSPEC)
V2_LOCAL_WITH_ADDRESSES = v2(LOCAL, TCP4, addresses4())
V2_UNSPEC = v2(PROXY, UNSPEC)
V2_UNIX = v2(PROXY, UNIX_STREAM, bytes(216))

GOOD = {
    "v1 tcp4": V1_TCP4,
    "v1 tcp6": V1_TCP6,
    "v1 unknown": V1_UNKNOWN,
    "v1 unknown with addresses": V1_UNKNOWN_LONG,
    "v2 tcp4": V2_TCP4,
    "v2 tcp6": V2_TCP6,
    "v2 with tlvs": V2_TLVS,
    "v2 with crc32c": v2_with_crc(),
    "v2 local": V2_LOCAL,
    "v2 local with addresses": V2_LOCAL_WITH_ADDRESSES,
    "v2 unspec": V2_UNSPEC,
    "v2 unix stream": V2_UNIX,
}

STREAM = b"<?xml version='1.0'?><stream:stream to='localhost'>"
BAD = {
    "none": STREAM,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "v1 wrong word": b"PROXX TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "v1 lower case": V1_TCP4.lower(),
    "v1 address of the other family": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "v1 bad address": b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
    "v1 bad port": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
    "v1 missing port": b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
    "v1 udp": b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "v1 too long": b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
    "v1 without an end": b"PROXY UNKNOWN " + b"x" * 500,
    "v2 bad signature": V2_TCP4.replace(b"QUIT", b"QUIX"),
    "v2 version 1": v2(0x11, TCP4, addresses4()),
    "v2 unknown command": v2(0x22, TCP4, addresses4()),
    "v2 datagram": v2(PROXY, UDP4, addresses4()),
    "v2 unassigned family": v2(PROXY, 0x41, addresses4()),
    "v2 unassigned protocol": v2(PROXY, 0x13, addresses4()),
    "v2 addresses too short": v2(PROXY, TCP4, addresses4()[:8]),
    "v2 tlv beyond the end": v2(PROXY, TCP4, addresses4(), b"\x02\x00\xff"),
    "v2 too long": v2(PROXY, TCP4, addresses4(), tlv(PP2_TYPE_NOOP, bytes(4090))),
    "v2 wrong crc32c": v2_with_crc(wrong=1),
}
