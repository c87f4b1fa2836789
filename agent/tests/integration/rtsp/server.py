# SPDX-License-Identifier: Apache-2.0
"""A real RTSP server for the tests; runs under Debian's own Python, which has GStreamer's bindings.

Usage: ``/usr/bin/python3 server.py [--port N] [--fps N] [--clip FILE] [--user NAME --digest] < password``

Serves ``rtsp://127.0.0.1:PORT/camera``: a test pattern, or an MP4 clip played once a client, as H.264. With ``--user``
the first line of standard input is the password. Prints ``ready PORT`` when it listens; port 0 takes a free one. Ends
with its standard input, so that no server outlives the test that started it.
"""

from __future__ import annotations

import argparse
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - versions must be required first

PATTERN = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate={fps}/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast bitrate=1500 key-int-max={fps} ! rtph264pay name=pay0 pt=96"
)
CLIP = "filesrc location={clip} ! qtdemux ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96"
REALM = "camera"


def main() -> None:
    """Serves until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--clip")
    parser.add_argument("--user")
    parser.add_argument("--digest", action="store_true")
    wanted = parser.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(wanted.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch("( " + (CLIP if wanted.clip else PATTERN).format(fps=wanted.fps, clip=wanted.clip) + " )")
    factory.set_shared(True)
    if wanted.user:
        demand_password(server, factory, wanted.user, sys.stdin.readline().rstrip("\n"), digest=wanted.digest)
    server.get_mount_points().add_factory("/camera", factory)
    if server.attach(None) == 0:
        sys.exit("the port is taken")
    loop = GLib.MainLoop()
    threading.Thread(target=quit_with_parent, args=(loop,), daemon=True).start()
    print(f"ready {server.get_bound_port()}", flush=True)  # noqa: T201 - the test waits for it
    loop.run()


def demand_password(
    server: GstRtspServer.RTSPServer,
    factory: GstRtspServer.RTSPMediaFactory,
    user: str,
    password: str,
    *,
    digest: bool,
) -> None:
    """Lets in one user, by basic or digest authentication."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", right, True)
    factory.set_permissions(permissions)


def quit_with_parent(loop: GLib.MainLoop) -> None:
    """Ends the loop when standard input ends."""
    sys.stdin.read()
    GLib.idle_add(loop.quit)


if __name__ == "__main__":
    main()
