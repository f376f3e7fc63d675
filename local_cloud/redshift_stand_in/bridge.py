"""
The wire bridge: speaks Redshift's side of the protocol to a client and PostgreSQL's to the server.

It answers TLS (and refuses plain connections), drops start-up parameters that only Redshift knows, reports Redshift's server
version and types, and rewrites Redshift's SQL in `Parse` and `Query` messages. Everything else passes through as it is.
The messages are those of PostgreSQL's frontend/backend protocol 3.0:
https://www.postgresql.org/docs/15/protocol-message-formats.html
"""

import argparse
import asyncio
import contextlib
import logging
import ssl
import struct
from asyncio import StreamReader, StreamWriter
from pathlib import Path

from local_cloud.redshift_stand_in.rewrite import rewrite

_LOG = logging.getLogger("redshift_stand_in.bridge")

_PROTOCOL_3 = 196608
_CANCEL_REQUEST = 80877102
_SSL_REQUEST = 80877103
_GSS_REQUEST = 80877104
# What PostgreSQL accepts of redshift_connector's start-up parameters; the others (client_protocol_version, driver_version,
# os_version, plugin_name, provider_type, ...) end the connection there.
_STARTUP_PARAMETERS = frozenset(
    {b"user", b"database", b"application_name", b"options", b"client_encoding", b"datestyle"}
)
_REDSHIFT_VERSION = b"8.0.2"
# text is varchar, jsonb is super: ids of pg_type and of redshift_connector's RedshiftOID.
_REDSHIFT_TYPES = {25: 1043, 3802: 4000}
_COPY_BYTES = 65536
# redshift_connector's driver sends nothing larger before it is authenticated; PostgreSQL has the same limit.
_STARTUP_BYTES = 10_000
_START_SECONDS = 30
_GONE = (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)


class _RefusedError(Exception):
    """The client did not start as a Redshift client with TLS does; the message is sent to it."""


class Bridge:
    """Serves clients on loopback and opens one PostgreSQL session for each."""

    def __init__(self, *, postgres_port: int, tls: ssl.SSLContext) -> None:
        self._postgres_port = postgres_port
        self._tls = tls

    async def serve(self, port: int) -> None:
        """Serve on 127.0.0.1 until cancelled."""
        server = await asyncio.start_server(self._serve_client, "127.0.0.1", port, backlog=512)
        async with server:
            await server.serve_forever()

    async def _serve_client(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            async with asyncio.timeout(_START_SECONDS):
                code, body = await self._startup_message(reader, writer)
            if code == _CANCEL_REQUEST:
                await self._forward_cancel(body)
            else:
                await self._forward_session(reader, writer, body)
        except _RefusedError as refusal:
            writer.write(_fatal_error(str(refusal)))
        except (*_GONE, TimeoutError) as gone:
            # A client that vanishes is its own business; the session at the server is closed with it.
            _LOG.debug("client gone: %r", gone)
        finally:
            await _close(writer)

    async def _startup_message(self, reader: StreamReader, writer: StreamWriter) -> tuple[int, bytes]:
        """The start-up or cancel message, after TLS where the client asked for it."""
        code, body = await _read_startup_packet(reader)
        if code == _GSS_REQUEST:
            writer.write(b"N")
            await writer.drain()
            code, body = await _read_startup_packet(reader)
        encrypted = code == _SSL_REQUEST
        if encrypted:
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(self._tls)
            code, body = await _read_startup_packet(reader)
        if code == _PROTOCOL_3 and not encrypted:
            raise _RefusedError("the stand-in accepts encrypted connections only; set sslmode to verify-full")
        if code not in {_PROTOCOL_3, _CANCEL_REQUEST}:
            raise _RefusedError(f"unsupported protocol {code >> 16}.{code & 0xFFFF}; 3.0 is supported")
        return code, body

    async def _forward_cancel(self, body: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._postgres_port)
        try:
            writer.write(struct.pack("!II", 8 + len(body), _CANCEL_REQUEST) + body)
            await writer.drain()
            # PostgreSQL closes the connection once the signal is sent; only then may the client believe so.
            await reader.read()
        finally:
            await _close(writer)

    async def _forward_session(self, reader: StreamReader, writer: StreamWriter, startup: bytes) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._postgres_port)
        try:
            parameters = _only_known_parameters(startup)
            server_writer.write(struct.pack("!II", len(parameters) + 8, _PROTOCOL_3) + parameters)
            directions = {
                asyncio.create_task(_client_to_server(reader, server_writer)),
                asyncio.create_task(_server_to_client(server_reader, writer)),
            }
            # Whoever hangs up first ends both halves: PostgreSQL then stops the session's query by itself.
            done, running = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            for task in done:
                task.result()
        finally:
            await _close(server_writer)


async def _read_startup_packet(reader: StreamReader) -> tuple[int, bytes]:
    length, code = struct.unpack("!II", await reader.readexactly(8))
    if not 8 <= length <= _STARTUP_BYTES:
        raise _RefusedError(f"invalid length of start-up packet: {length}; 8 to {_STARTUP_BYTES} bytes are allowed")
    return code, await reader.readexactly(length - 8)


def _only_known_parameters(startup: bytes) -> bytes:
    fields = startup.split(b"\0")
    pairs = zip(fields[0::2], fields[1::2], strict=False)
    return b"".join(name + b"\0" + value + b"\0" for name, value in pairs if name in _STARTUP_PARAMETERS) + b"\0"


async def _read_message(reader: StreamReader) -> tuple[bytes, bytes]:
    header = await reader.readexactly(5)
    (length,) = struct.unpack("!I", header[1:])
    return header[:1], await reader.readexactly(length - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


async def _client_to_server(reader: StreamReader, writer: StreamWriter) -> None:
    while True:
        kind, body = await _read_message(reader)
        if kind == b"P":
            name, sql, parameter_types = body.split(b"\0", 2)
            body = b"\0".join((name, _rewrite(sql), parameter_types))
        elif kind == b"Q":
            body = _rewrite(body[:-1]) + b"\0"
        writer.write(_message(kind, body))
        await writer.drain()


async def _server_to_client(reader: StreamReader, writer: StreamWriter) -> None:
    buffer = bytearray()
    while chunk := await reader.read(_COPY_BYTES):
        buffer += chunk
        writer.write(_take_messages(buffer))
        await writer.drain()


def _take_messages(buffer: bytearray) -> bytes:
    """Remove all complete messages from `buffer` and return them as Redshift would have written them."""
    messages = []
    start = 0
    while len(buffer) >= start + 5:
        end = start + 1 + int.from_bytes(buffer[start + 1 : start + 5])
        if len(buffer) < end:
            break
        message = bytes(buffer[start:end])
        if message.startswith(b"T"):
            message = _with_redshift_types(message)
        elif message.startswith(b"S") and message[5:].startswith(b"server_version\0"):
            message = _message(b"S", b"server_version\0" + _REDSHIFT_VERSION + b"\0")
        messages.append(message)
        start = end
    del buffer[:start]
    return b"".join(messages)


def _with_redshift_types(row_description: bytes) -> bytes:
    """
    The description of a result with Redshift's types in the place of PostgreSQL's.

    dbt compares them with the types that a contract promises, and Redshift's texts are all `varchar`.
    """
    described = bytearray(row_description)
    (columns,) = struct.unpack_from("!H", described, 5)
    position = 7
    for _ in range(columns):
        # After the name: table (4 bytes), number of the column (2), type (4), its size (2), modifier (4), format (2).
        type_at = described.index(b"\0", position) + 1 + 6
        (type_id,) = struct.unpack_from("!I", described, type_at)
        struct.pack_into("!I", described, type_at, _REDSHIFT_TYPES.get(type_id, type_id))
        position = type_at + 12
    return bytes(described)


def _rewrite(sql: bytes) -> bytes:
    try:
        text = sql.decode()
    except UnicodeDecodeError:
        # PostgreSQL says better what is wrong with it.
        return sql
    return rewrite(text).encode()


def _fatal_error(message: str) -> bytes:
    fields = {b"S": b"FATAL", b"V": b"FATAL", b"C": b"08P01", b"M": message.encode()}
    return _message(b"E", b"".join(name + value + b"\0" for name, value in fields.items()) + b"\0")


async def _close(writer: StreamWriter) -> None:
    writer.close()
    # What was written is still sent; a peer that is gone already cannot be told.
    with contextlib.suppress(*_GONE, TimeoutError):
        async with asyncio.timeout(5):
            await writer.wait_closed()


def main() -> None:
    """Run the bridge as a process of its own."""
    parser = argparse.ArgumentParser(description="Make PostgreSQL look like Redshift to redshift_connector.")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1 to serve")
    parser.add_argument("--postgres-port", type=int, required=True, help="port on 127.0.0.1 where PostgreSQL listens")
    parser.add_argument("--certificate", type=Path, required=True, help="server certificate (PEM)")
    parser.add_argument("--key", type=Path, required=True, help="private key of the certificate (PEM)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(arguments.certificate, arguments.key)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Bridge(postgres_port=arguments.postgres_port, tls=tls).serve(arguments.port))


if __name__ == "__main__":
    main()
