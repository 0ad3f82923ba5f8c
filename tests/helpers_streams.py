"""Servers of live video on this machine: RTSP, MJPEG over HTTP, files over HTTP."""

import base64
import contextlib
import http.server
import io
import re
import socket
import socketserver
import struct
import threading
import time
from fractions import Fraction

import av
import numpy as np
from PIL import Image


@contextlib.contextmanager
def serving(server):
    """Run a server in a thread; yield it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def encode_h264(pictures, rate=20):
    """Encode pictures (H, W, 3) as H.264, each a key frame: the NAL units of each."""
    codec = av.CodecContext.create("libx264", "w")
    codec.height, codec.width = pictures[0].shape[:2]
    codec.pix_fmt, codec.time_base = "yuv420p", Fraction(1, rate)
    codec.gop_size = 1
    codec.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "12"}
    units = []
    for picture in pictures:
        packets = codec.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        data = b"".join(map(bytes, packets))
        units.append([unit for unit in re.split(rb"\x00?\x00\x00\x01", data) if unit])
    return units


class RtspServer(socketserver.ThreadingTCPServer):
    """Speaks RTSP 1.0 (RFC 2326) and sends H.264 as RTP (RFC 6184) in the same connection.

    Args:
        frames: NAL units of each frame, from `encode_h264`; they are sent again and again, unless
            one is None: nothing is sent any more then, or the bytes of `rubbish` once.
        password: asked for by HTTP basic authentication, where given.
    """

    allow_reuse_address = daemon_threads = True

    def __init__(self, frames, rate=20, password=None):
        super().__init__(("127.0.0.1", 0), _RtspHandler)
        self.frames, self.rate, self.password = frames, rate, password
        self.num_plays = 0
        self.most_frames = None
        self.is_closing = False

    @property
    def address(self):
        user = "" if self.password is None else f"me:{self.password}@"
        return f"rtsp://{user}127.0.0.1:{self.server_address[1]}/live"

    def shutdown(self):
        self.is_closing = True
        super().shutdown()


class _RtspHandler(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while head := self._read_head():
                self._answer(*head)

    def _read_head(self):
        first = self.rfile.readline().split()
        if len(first) < 3:
            return None
        fields = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            fields[name.lower()] = value.strip()
        return first[0].decode(), fields

    def _answer(self, method, fields):
        server = self.server
        wanted = base64.b64encode(f"me:{server.password}".encode()).decode()
        if server.password is not None and fields.get("authorization") != f"Basic {wanted}":
            self._say(fields, "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"')
        elif method == "DESCRIBE":
            body = "v=0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
            sprop = ",".join(base64.b64encode(u).decode() for u in server.frames[0][:2])
            body += f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sprop}\r\n"
            self._say(fields, "200 OK", "Content-Type: application/sdp", body=body)
        elif method == "SETUP":
            self._say(
                fields, "200 OK", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 7"
            )
        elif method == "PLAY":
            self._say(fields, "200 OK", "Session: 7")
            server.num_plays += 1
            self._play()
        else:
            self._say(fields, "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")

    def _say(self, fields, status, *lines, body=""):
        head = [f"RTSP/1.0 {status}", f"CSeq: {fields.get('cseq', 0)}", *lines]
        head.append(f"Content-Length: {len(body)}")
        self.wfile.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())

    def _play(self):
        server, sequence, number = self.server, 0, 0
        while not server.is_closing and (server.most_frames is None or number < server.most_frames):
            units = server.frames[number % len(server.frames)]
            if units is None:
                time.sleep(0.02)
                continue
            stamp = 90_000 * number // server.rate
            for place, unit in enumerate(units):
                for part, is_end in _split(unit):
                    is_last = is_end and place == len(units) - 1
                    head = struct.pack(">BBHII", 0x80, 96 | is_last << 7, sequence, stamp, 7)
                    packet = head + part
                    self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                    sequence = (sequence + 1) % 65536
            number += 1
            time.sleep(1 / server.rate)
        self.connection.shutdown(socket.SHUT_RDWR)


def _split(unit, most=1300):
    """Split a NAL unit into FU-A fragments where it is too long for a packet."""
    if len(unit) <= most:
        yield unit, True
        return
    kind = unit[0] & 0x1F
    parts = [unit[place : place + most] for place in range(1, len(unit), most)]
    for number, part in enumerate(parts):
        is_first, is_last = number == 0, number == len(parts) - 1
        head = bytes([unit[0] & 0xE0 | 28, is_first << 7 | is_last << 6 | kind])
        yield head + part, is_last


class HttpServer(http.server.ThreadingHTTPServer):
    """Sends what ``pages`` has for each path: bytes of a file, or pictures as an MJPEG stream.

    A picture that is None ends nothing but sends no more. What is posted is kept in ``posted``;
    ``statuses`` are the answers to the posts, 200 where there are no more; None does not answer.
    """

    daemon_threads = True

    def __init__(self, pages=(), statuses=(), rate=20):
        super().__init__(("127.0.0.1", 0), _HttpHandler)
        self.pages, self.statuses, self.rate = dict(pages), list(statuses), rate
        self.posted = []
        self.closing = threading.Event()

    def address(self, path="/"):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def shutdown(self):
        self.closing.set()
        super().shutdown()


class _HttpHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.posted.append((self.path, dict(self.headers), self.rfile.read(length)))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status is None:
            self.server.closing.wait(30)
            return
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", self.server.address("/elsewhere"))
        self.end_headers()

    def do_GET(self):
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(404)
        elif isinstance(page, bytes):
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(page)
        else:
            self._send_pictures(page)

    def _send_pictures(self, pictures):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        for picture in pictures:
            if picture is None:
                self.server.closing.wait(30)
                return
            encoded = io.BytesIO()
            Image.fromarray(np.asarray(picture)).save(encoded, "JPEG", quality=95)
            data = encoded.getvalue()
            head = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            try:
                self.wfile.write(head % len(data) + data + b"\r\n")
            except OSError:
                return
            if self.server.closing.wait(1 / self.server.rate):
                return
