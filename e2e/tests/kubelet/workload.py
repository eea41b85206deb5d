#!/usr/bin/env python3
"""What runs behind the image `tenant-operator` in the tests of the stand-in kubelet: it does what its arguments and a
few requests ask, and tells in its log what happened to it."""

import http.server
import os
import signal
import subprocess
import sys


def say(*words):
    print(*words, flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    health = {"ready": True, "live": True}
    directory = "/"

    def do_GET(self):
        verb, _, rest = self.path.lstrip("/").partition("/")
        code, body = 200, ""
        if verb in self.health:
            code = 200 if self.health[verb] else 503
        elif verb == "break":
            self.health[rest] = False
        elif verb == "mend":
            self.health[rest] = True
        elif verb == "env":
            body = os.environ.get(rest, "")
        elif verb == "file":
            try:
                with open(os.path.join(self.directory, rest)) as file:
                    body = file.read()
            except OSError as error:
                code, body = 404, str(error)
        else:
            say("asked", verb)
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def serve(address, directory, *options):
    Handler.directory = directory
    host, port = address.rsplit(":", 1)

    def terminate(*_):
        say("terminated")
        if "deaf" not in options:
            os._exit(0)

    signal.signal(signal.SIGTERM, terminate)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    say("pid", os.getpid())
    say("serving", address)
    server.serve_forever()


def account(kubectl):
    """Asks the API server for something that nobody allowed, as a client that knows its kubeconfig alone."""
    answer = subprocess.run([kubectl, "--cache-dir=cache", "get", "secrets", "-A"], capture_output=True, text=True)
    say(answer.stdout, answer.stderr)


match sys.argv[1:]:
    case ["serve", *arguments]:
        serve(*arguments)
    case ["account", kubectl]:
        account(kubectl)
    case ["exit", code]:
        say("exit", code)
        sys.exit(int(code))
    case arguments:
        sys.exit(f"what is {arguments}?")
