"""As much of an IRC server (RFC 2812) as a gateway needs: it greets, lets in, and passes on."""

import asyncio

PORT = 6667
WAIT_SECONDS = 20


class Irc:
    """Serves one gateway on an address of its own; `heard` holds what was said in channels."""

    def __init__(self, address):
        self.address = address
        self.heard = asyncio.Queue()
        self.writer = None
        self.server = None

    async def begin(self):
        self.server = await asyncio.start_server(self.serve, self.address, PORT)
        return self

    async def stop(self):
        if self.writer:
            self.writer.close()
        self.server.close()

    def tell(self, line):
        self.writer.write(f"{line}\r\n".encode())

    async def serve(self, reader, writer):
        self.writer, nick, named = writer, None, False
        while line := (await reader.readline()).decode().strip():
            command, _, rest = line.partition(" ")
            match command:
                case "NICK":
                    nick = rest.lstrip(":")
                case "USER":
                    named = True
                case "PING":
                    self.tell(f":irc PONG irc {rest}")
                case "JOIN":
                    channel = rest.split()[0]
                    self.tell(f":{nick}!u@h JOIN {channel}")
                    self.tell(f":irc 353 {nick} = {channel} :{nick} other")
                    self.tell(f":irc 366 {nick} {channel} :end")
                    self.tell(f":irc 332 {nick} {channel} :a topic")
                case "QUIT":
                    return writer.close()
                case "PRIVMSG":
                    target, _, text = rest.partition(" :")
                    self.heard.put_nowait((target, text))
            if command in ("NICK", "USER") and nick and named:
                self.tell(f":irc 001 {nick} :welcome")
                self.tell(f":irc 376 {nick} :end of the message of the day")

    async def next(self):
        return await asyncio.wait_for(self.heard.get(), WAIT_SECONDS)
