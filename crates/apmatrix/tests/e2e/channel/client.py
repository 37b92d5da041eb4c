"""Clients of the device channel, written from docs/protocol.md alone; Python 3, standard library only.

Reads steps from standard input, one per line, and answers each with one line; suite.txt says which steps
there are. The argument is the directory of the sockets.
"""

import array
import ctypes
import json
import os
import socket
import struct
import sys
import time

LONG = 30.0

HEADER = struct.Struct("<HHIII")
REPLY, ERROR = 0x1, 0x20

VERSION, DMA_MAP, DMA_UNMAP = 1, 2, 3
GET_INFO, GET_IRQ_INFO, SET_IRQS, RESET = 4, 7, 8, 13
AP_EXEC, AP_GET_APCB = 0x4150, 0x4151

TAPQ, ZAPQ, AQIC, QCI, NQAP, DQAP = 0x00, 0x02, 0x03, 0x04, 0xAD, 0xAE
EXEC = struct.Struct("<HHHHQQII")
EXEC_REPLY = struct.Struct("<IIQII")


ERRORS = {
    1: "EPERM", 2: "ENOENT", 5: "EIO", 11: "EAGAIN", 12: "ENOMEM", 16: "EBUSY", 17: "EEXIST",
    19: "ENODEV", 22: "EINVAL", 87: "EUSERS", 95: "EOPNOTSUPP", 98: "EADDRINUSE",
}


class Refused(Exception):
    """The error of a reply."""

    def __init__(self, number):
        super().__init__(ERRORS.get(number, "errno %d" % number))


class Closed(Exception):
    """The server has ended the connection."""


def new_eventfd():
    """A counter that does not block; os.eventfd is not there before Python 3.10."""
    if hasattr(os, "eventfd"):
        return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    return ctypes.CDLL(None).eventfd(0, os.O_NONBLOCK | os.O_CLOEXEC)


class Connection:
    """A stream of messages."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(LONG)
        self.socket.connect(path)
        self.last_id = 0

    def receive(self, size):
        data = b""
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except ConnectionResetError:
                part = b""
            if not part:
                raise Closed()
            data += part
        return data

    def command(self, number, payload=b"", descriptors=()):
        """One round trip: the payload of the reply."""
        self.last_id = (self.last_id + 1) & 0xFFFF
        message = HEADER.pack(self.last_id, number, HEADER.size + len(payload), 0, 0) + payload
        rights = []
        if descriptors:
            numbers = array.array("i", descriptors)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
        sent = self.socket.sendmsg([message], rights)
        if sent < len(message):
            self.socket.sendall(message[sent:])
        identity, answered, size, flags, error = HEADER.unpack(self.receive(HEADER.size))
        reply = self.receive(size - HEADER.size)
        if identity != self.last_id or answered != number or not flags & REPLY:
            raise AssertionError("a reply to something else")
        if flags & ERROR:
            if reply or not error:
                raise AssertionError("a failed reply is the header alone, with an errno")
            raise Refused(error)
        if error:
            raise AssertionError("an errno without the flag")
        return reply

    def version(self, text):
        """VERSION: the server's capabilities."""
        payload = struct.pack("<HH", 0, 1) + text.encode() + b"\0"
        reply = self.command(VERSION, payload)
        major, minor = struct.unpack_from("<HH", reply)
        if (major, minor) != (0, 1) or reply[-1:] != b"\0":
            raise AssertionError("not our version")
        return json.loads(reply[4:-1])["capabilities"]


def numbers(mask):
    """The numbers in a mask, for people."""
    found = [n for n in range(256) if mask[n // 8] & 0x80 >> n % 8]
    return " ".join(map(str, found)) or "-"


def apqn(text):
    adapter, domain = text.split(".")
    return int(adapter, 16) * 256 + int(domain, 16)


def integer(text):
    return int(text, 0)


def payload_of(text):
    return b"" if text == "-" else bytes.fromhex(text)


class Clients:
    """Connections and eventfds by their names."""

    def __init__(self, directory):
        self.directory = directory
        self.connections = {}
        self.generations = {}
        self.eventfds = {}

    def path(self, mdev):
        return os.path.join(self.directory, mdev + ".sock")

    # Opening and closing

    def open(self, name, mdev, vm):
        wanted = {"vm": vm, "crycb_format": 2, "facilities": ["ap", "apft", "apqci"]}
        asked = {"capabilities": {"max_msg_fds": 8, "apmatrix": wanted}}
        connection = Connection(self.path(mdev))
        granted = connection.version(json.dumps(asked))["apmatrix"]
        if not 1 <= granted["max_message"] <= 1 << 20:
            raise AssertionError("max_message")
        self.connections[name] = connection
        apxa = ", apxa" if granted["apxa"] else ""
        facilities = " ".join(granted["facilities"])
        return "format %d, %s%s" % (granted["crycb_format"], facilities, apxa)

    def until_free(self, name, mdev, vm):
        end = time.monotonic() + LONG
        while True:
            try:
                return self.open(name, mdev, vm)
            except Refused as refused:
                if str(refused) != "EBUSY" or time.monotonic() > end:
                    raise

    def version(self, _name, mdev, *text):
        Connection(self.path(mdev)).version(" ".join(text))
        return "ok"

    def early(self, _name, mdev, number, payload):
        connection = Connection(self.path(mdev))
        try:
            connection.command(integer(number), payload_of(payload))
        except Refused as refused:
            try:
                connection.receive(1)
            except Closed:
                return "%s, closed" % refused
        return "ok"

    def close(self, name):
        self.connections.pop(name).socket.close()
        return "ok"

    # Standard commands

    def get_info(self, name, argsz):
        size = integer(argsz)
        payload = struct.pack("<I", size) + bytes(max(size, 16) - 4)
        reply = self.connections[name].command(GET_INFO, payload)
        size, flags, regions, irqs = struct.unpack("<IIII", reply)
        if size != 16:
            raise AssertionError("argsz")
        return "flags %#x, regions %d, irqs %d" % (flags, regions, irqs)

    def get_irq_info(self, name, argsz, index):
        payload = struct.pack("<IIII", integer(argsz), 0, integer(index), 0)
        reply = self.connections[name].command(GET_IRQ_INFO, payload)
        size, flags, index, count = struct.unpack("<IIII", reply)
        if size != 16:
            raise AssertionError("argsz")
        return "flags %#x, index %d, count %d" % (flags, index, count)

    def set_irqs(self, name, argsz, flags, index, start, count, what, eventfd=None):
        payload = struct.pack("<IIIII", *map(integer, (argsz, flags, index, start, count)))
        close = []
        if what == "eventfd":
            if eventfd not in self.eventfds:
                self.eventfds[eventfd] = new_eventfd()
            descriptors = [self.eventfds[eventfd]]
        elif what == "pipe":
            close = list(os.pipe())
            descriptors = close[:1]
        elif what == "two":
            close = descriptors = [new_eventfd(), new_eventfd()]
        else:
            descriptors = []
        try:
            reply = self.connections[name].command(SET_IRQS, payload, descriptors)
        finally:
            for descriptor in close:
                os.close(descriptor)
        return "ok" if reply == b"" else "a payload"

    def reset(self, name):
        return "ok" if self.connections[name].command(RESET) == b"" else "a payload"

    def map(self, name, argsz, flags, address, length):
        size = integer(argsz)
        fields = (size, integer(flags), 0, integer(address), integer(length))
        payload = struct.pack("<IIQQQ", *fields) + bytes(max(size, 32) - 32)
        return "ok" if self.connections[name].command(DMA_MAP, payload) == b"" else "a payload"

    def unmap(self, name, argsz, flags, address, length):
        fields = (integer(argsz), integer(flags), integer(address), integer(length))
        payload = struct.pack("<IIQQ", *fields)
        reply = self.connections[name].command(DMA_UNMAP, payload)
        if reply != payload:
            return "other bytes"
        return "%#x %#x" % fields[2:]

    def raw(self, name, number, payload):
        reply = self.connections[name].command(integer(number), payload_of(payload))
        return "ok, %d bytes" % len(reply)

    # The guest's masks

    def view(self, name):
        reply = self.connections[name].command(AP_GET_APCB)
        if len(reply) != 240:
            raise AssertionError("the length of AP_GET_APCB")
        generation, crycb_format, zero = struct.unpack_from("<QII", reply)
        if zero:
            raise AssertionError("offset 12")
        masks = [reply[at:at + 32] for at in (16, 48, 80)]
        return generation, crycb_format, masks, reply[112:]

    def apcb(self, name):
        _, crycb_format, masks, block = self.view(name)
        if [block[at:at + 32] for at in (16, 48, 80)] != masks:
            raise AssertionError("QCI has other masks")
        apm, aqm, adm = map(numbers, masks)
        return "apm %s, aqm %s, adm %s, format %d" % (apm, aqm, adm, crycb_format)

    def generation(self, name):
        now = self.view(name)[0]
        before = self.generations.get(name)
        self.generations[name] = now
        if before is None:
            return "first"
        return "grew" if now > before else "same" if now == before else "fell"

    # Eventfds

    def read(self, _name, eventfd):
        try:
            return str(struct.unpack("=Q", os.read(self.eventfds[eventfd], 8))[0])
        except BlockingIOError:
            return "0"

    def count(self, name, eventfd):
        self.view(name)
        return self.read(name, eventfd)

    def await_count(self, name, eventfd, wanted):
        counted, end = 0, time.monotonic() + LONG
        while counted < integer(wanted) and time.monotonic() < end:
            time.sleep(0.001)
            counted += int(self.read(name, eventfd))
        return str(counted)

    # Instructions

    def execute(self, name, operation, queue=0, flags=0, first=0, second=0, capacity=0, message=b""):
        head = EXEC.pack(operation, flags, queue, 0, first, second, capacity, len(message))
        reply = self.connections[name].command(AP_EXEC, head + message)
        exception, status, operand, residual, length = EXEC_REPLY.unpack_from(reply)
        data = reply[EXEC_REPLY.size:]
        if len(data) != length:
            raise AssertionError("the length of the data")
        if exception:
            if (status, operand, residual, length) != (0, 0, 0, 0):
                raise AssertionError("an exception, and something else")
            return "exception %d" % exception, 0, data
        return "%02x" % (status >> 16 & 0xFF), operand, data

    def tapq(self, name, queue):
        code, information, _ = self.execute(name, TAPQ, apqn(queue), flags=1)
        if (code in ("00", "02", "03", "04", "05")) != (information != 0):
            raise AssertionError("GR2 %#x with response code %s" % (information, code))
        return code

    def zapq(self, name, queue):
        return self.execute(name, ZAPQ, apqn(queue))[0]

    def aqic(self, name, queue, control, address):
        operands = {"first": integer(control), "second": integer(address)}
        return self.execute(name, AQIC, apqn(queue), **operands)[0]

    def qci(self, name):
        _, _, block = self.execute(name, QCI)
        if len(block) != 128:
            raise AssertionError("the length of the block")
        masks = tuple(numbers(block[at:at + 32]) for at in (16, 48, 80))
        return "apm %s, aqm %s, adm %s" % masks

    def nqap(self, name, queue, psmid, message):
        operands = {"first": integer(psmid), "message": payload_of(message)}
        return self.execute(name, NQAP, apqn(queue), **operands)[0]

    def dqap(self, name, queue, capacity):
        return self.execute(name, DQAP, apqn(queue), capacity=integer(capacity))[0]

    def await_reply(self, name, queue, capacity):
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            code, psmid, data = self.execute(name, DQAP, apqn(queue), capacity=integer(capacity))
            if code == "00" and data:
                return "psmid %#x" % psmid
        return "no reply"

    def step(self, line):
        """Does a step; what came of it."""
        name, verb, *words = line.split(" ")
        names = {"command": "raw", "await": "await_count"}
        method = getattr(self, names.get(verb, verb.replace("-", "_")))
        try:
            return method(name, *words)
        except Refused as refused:
            return str(refused)
        except Closed:
            return "closed"
        except (AssertionError, OSError, struct.error) as error:
            return "wrong: %s" % error


def main():
    clients = Clients(sys.argv[1])
    for line in sys.stdin:
        print(clients.step(line.rstrip("\n")), flush=True)


if __name__ == "__main__":
    main()
